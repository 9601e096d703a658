"""The matmul kernels that load through pointers: one strided, batched product, and the sum of the parts of a product whose k is split.

Each group of dims (batch, m, n, k) is a tuple of sizes and tuples of strides, outermost first; sums are fp32.
"""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.matmul.tiles import tile_at


@triton.jit
def offsets(index: tl.tensor, sizes: tl.tuple, strides: tl.tuple, WIDE: tl.constexpr) -> tl.tensor:
    """Where element `index` of a group of dims lies: Σ digit · stride, the last dim's digit the fastest.

    WIDE: the last size is a multiple of 16, so 16 neighbours of an aligned index share all other digits, which Triton does not see.
    """
    total = index * 0
    rest = index
    for j in tl.static_range(1, len(sizes)):  # len(sizes) - j has no name: Triton assigns a compile-time one only once
        digit = rest % sizes[len(sizes) - j]
        rest = rest // sizes[len(sizes) - j]
        if WIDE and j == 1:
            digit = tl.max_contiguous(tl.multiple_of(digit, 16), 16)
            rest = tl.max_constancy(rest, 16)
        total += digit * strides[len(sizes) - j]
    return total + rest * strides[0]


@triton.jit
def count(sizes: tl.tuple) -> tl.tensor:
    """Elements of a group of dims."""
    total = sizes[0]
    for i in tl.static_range(1, len(sizes)):
        total *= sizes[i]
    return total


@triton.jit
def wrapped(start: tl.tensor, total: tl.tensor, BLOCK: tl.constexpr, WIDE: tl.constexpr, LONG: tl.constexpr) -> tl.tensor:
    """BLOCK indices from `start`; those past the end start again at 0, so that loads need no mask."""
    index = (start + tl.arange(0, BLOCK)) % total
    if WIDE:  # the remainder by a multiple of 16 keeps 16 neighbours together, which Triton does not see
        index = tl.max_contiguous(tl.multiple_of(index, 16), 16)
    return index.to(tl.int64) if LONG else index


@triton.jit
def zeros(sizes: tl.tuple) -> tl.tuple:
    """First digits for `advance`: one for each dim between the innermost and the outermost, at least one."""
    digits = (0,)
    for _ in tl.static_range(2, len(sizes) - 1):
        digits = digits + (0,)  # type: ignore[assignment]  # noqa: RUF005 (Triton has no starred items)
    return digits


@triton.jit
def advance(
    sizes: tl.tuple, done: tl.tensor, digits: tl.tuple, steps_a: tl.tuple, steps_b: tl.tuple, BLOCK: tl.constexpr
) -> tuple[tl.tensor, tl.tuple, tl.tensor, tl.tensor]:
    """The counters of two or more dims after a step of BLOCK elements, and by how much addresses move. No division: this is in the loop.

    done: elements of the innermost dim; digits: of the dims between it and the outermost, which needs no counter.
    """
    last: tl.constexpr = len(sizes) - 1
    move_a = tl.cast(steps_a[last], tl.int64)
    move_b = tl.cast(steps_b[last], tl.int64)
    done += BLOCK
    carry = done >= sizes[last]
    done = tl.where(carry, 0, done)
    advanced = ()
    for j in tl.static_range(1, last + 1):
        move_a += tl.where(carry, tl.cast(steps_a[last - j], tl.int64), 0)
        move_b += tl.where(carry, tl.cast(steps_b[last - j], tl.int64), 0)
        if j < last:
            digit = digits[j - 1] + carry.to(tl.int32)
            carry = digit == sizes[last - j]
            advanced = advanced + (tl.where(carry, 0, digit),)  # type: ignore[assignment]  # noqa: RUF005
    if last > 1:
        digits = advanced
    return done, digits, move_a, move_b


@triton.jit
def tile_of_block(
    total_m: tl.tensor, total_n: tl.tensor, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, GROUP_M: tl.constexpr, SPLIT: tl.constexpr
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """This block's leading index, part of k, and first row and column.

    One grid axis holds tiles, leading indices and parts of k: the other axes end at 65,535 blocks.
    """
    part = tl.program_id(0) % SPLIT
    block = tl.program_id(0) // SPLIT
    lead, row, column = tile_at(block, tl.cdiv(total_m, BLOCK_M), tl.cdiv(total_n, BLOCK_N), BLOCK_M, BLOCK_N, GROUP_M)
    return lead, part, row, column


@triton.jit
def load_tiles(
    a_tile: tl.tensor,
    b_tile: tl.tensor,
    inside_m: tl.tensor,
    inside_k: tl.tensor,
    FEW_ROWS: tl.constexpr,
    EVEN_K: tl.constexpr,
    UPCAST: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """The tiles of A and B at these addresses, 0 beyond the end of k and, with FEW_ROWS, beyond the last row of A."""
    if FEW_ROWS:
        if EVEN_K:
            x = tl.load(a_tile, mask=inside_m[:, None], other=0.0)
        else:
            x = tl.load(a_tile, mask=inside_m[:, None] & inside_k[None, :], other=0.0)
    elif EVEN_K:
        x = tl.load(a_tile)
    else:
        x = tl.load(a_tile, mask=inside_k[None, :], other=0.0)
    y = tl.load(b_tile) if EVEN_K else tl.load(b_tile, mask=inside_k[:, None], other=0.0)
    if UPCAST:
        return x.to(tl.float32), y.to(tl.float32)
    else:  # Triton needs both branches of a constexpr
        return x, y


@triton.jit
def matmul_kernel(  # noqa: PLR0915 (the constexpr branches are one kernel each once compiled)
    a: tl.tensor,
    b: tl.tensor,
    c: tl.tensor,
    scale_a: tl.tensor,  # fp32, or None
    scale_b: tl.tensor,
    batch: tl.tuple,  # sizes of each group's dims, outermost first
    m: tl.tuple,
    n: tl.tuple,
    k: tl.tuple,
    batch_a: tl.tuple,  # strides of each group's dims in a tensor
    batch_b: tl.tuple,
    batch_c: tl.tuple,
    m_a: tl.tuple,
    m_c: tl.tuple,
    n_b: tl.tuple,
    n_c: tl.tuple,
    k_a: tl.tuple,
    k_b: tl.tuple,
    steps_a: tl.tuple,  # by how much an address moves where a counter of k advances, the last one by BLOCK_K elements
    steps_b: tl.tuple,
    split_c: tl.tensor,  # elements of one partial result; those of SPLIT blocks lie one after the other
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
    SPLIT: tl.constexpr,
    WIDE_A: tl.constexpr,
    WIDE_B: tl.constexpr,
    WIDE_C: tl.constexpr,
    FEW_ROWS: tl.constexpr,
    EVEN_K: tl.constexpr,
    INPUT_PRECISION: tl.constexpr,
    SCALING: tl.constexpr,
    IMPRECISE: tl.constexpr,
    UPCAST: tl.constexpr,
    LONG: tl.constexpr,
) -> None:
    """c = a · b · scales for each leading index, accumulated in fp32; the groups' dims are those of kernels/matmul/product.py.

    SCALING: tensor, one scale each; row, scale_a (batch, m) and scale_b (batch, n); block, scale_a (batch, k / 128, m) and
    scale_b (batch, n / 128, k / 128, padded to a multiple of 4), with BLOCK_K = 128 and BLOCK_N at most that.
    IMPRECISE: products that fp8 units may sum in their own accumulator.
    FEW_ROWS: rows past the edge are masked. They would all read row 0, and all blocks wait for the one slice of the L2 that holds it:
    with one row of 64, 3.2 times as long as cuBLAS (docs/validation/2026-11-27-h100_sxm5-triton-beside-torch).
    """
    total_m = count(m)
    total_n = count(n)
    lead, part, start_m, start_n = tile_of_block(total_m, total_n, BLOCK_M, BLOCK_N, GROUP_M, SPLIT)
    long_lead = lead.to(tl.int64)
    a += offsets(long_lead, batch, batch_a, False)
    b += offsets(long_lead, batch, batch_b, False)
    c += offsets(long_lead, batch, batch_c, False)
    index_m = wrapped(start_m, total_m, BLOCK_M, WIDE_A, LONG)
    index_n = wrapped(start_n, total_n, BLOCK_N, WIDE_B, LONG)
    range_k = tl.arange(0, BLOCK_K)
    index_k = range_k.to(tl.int64) if LONG else range_k
    last: tl.constexpr = len(k) - 1
    a_tile = a + (offsets(index_m, m, m_a, WIDE_A)[:, None] + index_k[None, :] * k_a[last])
    b_tile = b + (index_k[:, None] * k_b[last] + offsets(index_n, n, n_b, WIDE_B)[None, :])

    inner = tl.cdiv(k[last], BLOCK_K)
    steps = inner
    for i in tl.static_range(0, last):
        steps *= k[i]
    begin = 0
    end = steps
    done = 0
    digits = zeros(k)
    if SPLIT > 1:  # of k's one dim
        begin = part * tl.cdiv(steps, SPLIT)
        end = tl.minimum(begin + tl.cdiv(steps, SPLIT), steps)
        done = begin * BLOCK_K
        a_tile += begin.to(tl.int64) * steps_a[0]
        b_tile += begin.to(tl.int64) * steps_b[0]
        c += part.to(tl.int64) * split_c
    if SCALING == "block":
        scale_a += lead.to(tl.int64) * inner * total_m + index_m
        scale_b += (lead.to(tl.int64) * tl.cdiv(total_n, 128) + start_n // 128) * (tl.cdiv(inner, 4) * 4)
        if SPLIT > 1:
            scale_a += begin * total_m
            scale_b += begin

    sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    inside_m = start_m + tl.arange(0, BLOCK_M) < total_m
    # disable_licm: what does not change stands before the loop already. Where Triton 3.6 moves more there, ptxas lets each product
    # end before the next one starts (`inspect` shows wait depth 0), which took 25 to 28% longer on an H100.
    for _ in tl.range(begin, end, disable_licm=True):
        x, y = load_tiles(a_tile, b_tile, inside_m, range_k < k[last] - done, FEW_ROWS, EVEN_K, UPCAST)
        if SCALING == "block":
            part_sums = tl.dot(x, y, max_num_imprecise_acc=IMPRECISE)
            sums += part_sums * (tl.load(scale_a) * tl.load(scale_b))[:, None]
            scale_a += total_m
            scale_b += 1
        else:
            sums = tl.dot(x, y, sums, input_precision=INPUT_PRECISION, max_num_imprecise_acc=IMPRECISE)
        if last == 0:
            done += BLOCK_K
            a_tile += steps_a[0]
            b_tile += steps_b[0]
        else:
            done, digits, move_a, move_b = advance(k, done, digits, steps_a, steps_b, BLOCK_K)
            a_tile += move_a
            b_tile += move_b

    if SCALING == "tensor":
        sums *= tl.load(scale_a) * tl.load(scale_b)
    elif SCALING == "row":
        sums *= tl.load(scale_a + long_lead * total_m + index_m)[:, None] * tl.load(scale_b + long_lead * total_n + index_n)[None, :]
    row = start_m + tl.arange(0, BLOCK_M)
    column = start_n + tl.arange(0, BLOCK_N)
    inside_c = (row < total_m)[:, None] & (column < total_n)[None, :]
    row_c = row.to(tl.int64) if LONG else row
    column_c = column.to(tl.int64) if LONG else column
    c_tile = c + (offsets(row_c, m, m_c, WIDE_A)[:, None] + offsets(column_c, n, n_c, WIDE_C)[None, :])
    tl.store(c_tile, sums.to(c.dtype.element_ty), mask=inside_c)


@triton.jit
def add_parts_kernel(c: tl.tensor, parts: tl.tensor, size: tl.tensor, SPLIT: tl.constexpr, BLOCK: tl.constexpr) -> None:
    """c = Σ parts over SPLIT partial results of `size` elements each, in their order, rounded once."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < size
    total = tl.load(parts + i, mask=inside, other=0.0)
    for part in tl.static_range(1, SPLIT):
        total += tl.load(parts + part * tl.cast(size, tl.int64) + i, mask=inside, other=0.0)
    tl.store(c + i, total.to(c.dtype.element_ty), mask=inside)
