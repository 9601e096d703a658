"""The matmul kernels that copy tiles in bulk (TMA): persistent blocks, and blocks whose warps either load or multiply.

A tile is addressed by its coordinates in a descriptor, so there are no addresses to compute in the loop along k: past an edge a load gives
zeros and a store writes nothing. Both kernels are persistent: block i of PROGRAMS computes tiles i, i + PROGRAMS, i + 2 · PROGRAMS, ….

A is stored (m, k), or transposed (k, m) where A_TRANSPOSED; B (k, n), or (n, k) where B_TRANSPOSED; C (m, n). Sums are fp32.
"""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.matmul.tiles import tile_at


@triton.jit
def load_tile(tiles: tl.tensor_descriptor, lead: tl.tensor, row: tl.tensor, column: tl.tensor, TRANSPOSED: tl.constexpr) -> tl.tensor:
    """The tile at (row, column) of a matrix that may be stored transposed, as it is stored; of the matrix `lead`, where the descriptor has
    three dims."""
    if TRANSPOSED:
        first = column
        second = row
    else:
        first = row
        second = column
    if len(tiles.block_shape) == 3:
        return tiles.load([lead, first, second]).reshape(tiles.block_shape[1], tiles.block_shape[2])
    else:  # Triton needs both branches of a constexpr
        return tiles.load([first, second])


@triton.jit
def as_multiplied(tile: tl.tensor, TRANSPOSED: tl.constexpr, UPCAST: tl.constexpr) -> tl.tensor:
    """A tile as it was loaded, turned where it is stored transposed."""
    if TRANSPOSED:
        tile = tile.T
    return tile.to(tl.float32) if UPCAST else tile


@triton.jit
def scales_of_step(
    scale_a: tl.tensor,
    scale_b: tl.tensor,
    lead_a: tl.tensor,
    lead_b: tl.tensor,
    row: tl.tensor,
    column: tl.tensor,
    step: tl.tensor,
    m: tl.tensor,
    n: tl.tensor,
    k: tl.tensor,
    BLOCK_M: tl.constexpr,
) -> tl.tensor:
    """(BLOCK_M,) fp32: A's scales of a step of 128 along k, (lead, k / 128, m), times B's one, (lead, n / 128, k / 128 padded to a multiple
    of 4); 0 past the last row."""
    steps = tl.cdiv(k, 128)
    rows = row + tl.arange(0, BLOCK_M)
    of_a = tl.load(scale_a + (lead_a * steps + step).to(tl.int64) * m + rows, mask=rows < m, other=0.0)
    of_b = tl.load(scale_b + (lead_b * tl.cdiv(n, 128) + column // 128).to(tl.int64) * (tl.cdiv(steps, 4) * 4) + step)
    return of_a * of_b


@triton.jit
def scaled_sums(
    sums: tl.tensor,
    scale_a: tl.tensor,
    scale_b: tl.tensor,
    lead_a: tl.tensor,
    lead_b: tl.tensor,
    row: tl.tensor,
    column: tl.tensor,
    m: tl.tensor,
    n: tl.tensor,
    SCALING: tl.constexpr,
) -> tl.tensor:
    """The sums of a tile times the scales of fp8 operands: none; tensor, one each; row, scale_a (lead, m) and scale_b (lead, n)."""
    if SCALING == "tensor":
        sums *= tl.load(scale_a) * tl.load(scale_b)
    elif SCALING == "row":
        rows = row + tl.arange(0, sums.shape[0])
        columns = column + tl.arange(0, sums.shape[1])
        sums *= tl.load(scale_a + lead_a.to(tl.int64) * m + rows, mask=rows < m, other=0.0)[:, None]
        sums *= tl.load(scale_b + lead_b.to(tl.int64) * n + columns, mask=columns < n, other=0.0)[None, :]
    return sums


@triton.jit
def store_part(tiles: tl.tensor_descriptor, sums: tl.tensor, lead: tl.tensor, row: tl.tensor, column: tl.tensor) -> None:
    """Writes a tile by one bulk copy."""
    values = sums.to(tiles.dtype)
    if len(tiles.block_shape) == 3:
        tiles.store([lead, row, column], values.reshape(1, sums.shape[0], sums.shape[1]))
    else:
        tiles.store([row, column], values)


@triton.jit
def store_tile(
    c: tl.tensor,  # a descriptor, or with STORE "pointer" a pointer
    sums: tl.tensor,
    lead: tl.tensor,
    row: tl.tensor,
    column: tl.tensor,
    m: tl.tensor,
    n: tl.tensor,
    STORE: tl.constexpr,
) -> None:
    """Writes a tile. STORE: whole; halves, one after the other, which need half the shared memory; pointer, from the registers."""
    BLOCK_M: tl.constexpr = sums.shape[0]
    BLOCK_N: tl.constexpr = sums.shape[1]
    if STORE == "whole":
        store_part(c, sums, lead, row, column)
    elif STORE == "halves":
        left, right = tl.split(tl.permute(tl.reshape(sums, (BLOCK_M, 2, BLOCK_N // 2)), (0, 2, 1)))
        store_part(c, left, lead, row, column)
        store_part(c, right, lead, row, column + BLOCK_N // 2)
    else:
        rows = row + tl.arange(0, BLOCK_M)
        columns = column + tl.arange(0, BLOCK_N)
        inside = (rows < m)[:, None] & (columns < n)[None, :]
        place = (lead.to(tl.int64) * m + rows)[:, None] * n + columns[None, :]
        tl.store(c + place, sums.to(c.dtype.element_ty), mask=inside)


@triton.jit
def tma_kernel(
    a: tl.tensor_descriptor,  # (m, k) or (lead, m, k), as stored
    b: tl.tensor_descriptor,
    c: tl.tensor,  # see store_tile
    scale_a: tl.tensor,  # fp32, or None
    scale_b: tl.tensor,
    lead: tl.tensor,  # products, each with its own A and C
    m: tl.tensor,
    n: tl.tensor,
    k: tl.tensor,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
    A_TRANSPOSED: tl.constexpr,
    B_TRANSPOSED: tl.constexpr,
    B_SHARED: tl.constexpr,  # one B for all products
    INPUT_PRECISION: tl.constexpr,
    SCALING: tl.constexpr,
    IMPRECISE: tl.constexpr,
    STORE: tl.constexpr,
    PROGRAMS: tl.constexpr,
    FLATTEN: tl.constexpr,  # makes the loops over tiles and along k one, so that the next tile's loads start before this one is stored
    UPCAST: tl.constexpr,
) -> None:
    """c = a · b · scales, with descriptors made on the host."""
    tiles_m = tl.cdiv(m, BLOCK_M)
    tiles_n = tl.cdiv(n, BLOCK_N)
    first = tl.program_id(0)
    stored = first
    for tile in tl.range(first, lead * tiles_m * tiles_n, PROGRAMS, flatten=FLATTEN):
        which, row, column = tile_at(tile, tiles_m, tiles_n, BLOCK_M, BLOCK_N, GROUP_M)
        sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        for done in range(0, k, BLOCK_K):
            # Both are loaded before either is turned: only then does Triton wait for them at one barrier.
            x = load_tile(a, which, row, done, A_TRANSPOSED)
            y = load_tile(b, 0 if B_SHARED else which, done, column, B_TRANSPOSED)
            x = as_multiplied(x, A_TRANSPOSED, UPCAST)
            y = as_multiplied(y, B_TRANSPOSED, UPCAST)
            if SCALING == "block":
                part = tl.dot(x, y, max_num_imprecise_acc=IMPRECISE)
                which_b = 0 if B_SHARED else which
                sums += part * scales_of_step(scale_a, scale_b, which, which_b, row, column, done // BLOCK_K, m, n, k, BLOCK_M)[:, None]
            else:
                sums = tl.dot(x, y, sums, input_precision=INPUT_PRECISION, max_num_imprecise_acc=IMPRECISE)
        if FLATTEN:
            # A counter of the stores' own: sharing the loads' would keep both from being in flight at the same time.
            which, row, column = tile_at(stored, tiles_m, tiles_n, BLOCK_M, BLOCK_N, GROUP_M)
            stored += PROGRAMS
        sums = scaled_sums(sums, scale_a, scale_b, which, 0 if B_SHARED else which, row, column, m, n, SCALING)
        store_tile(c, sums, which, row, column, m, n, STORE)


@triton.jit
def specialized_kernel(
    a: tl.tensor,  # as stored, contiguous along rows: (lead · m, k), or (lead · k, m) where A_TRANSPOSED
    b: tl.tensor,
    c: tl.tensor,  # (lead · m, n)
    scale_a: tl.tensor,  # fp32, or None
    scale_b: tl.tensor,
    lead: tl.tensor,
    m: tl.tensor,  # where lead is over 1, a multiple of BLOCK_M; n and k likewise
    n: tl.tensor,
    k: tl.tensor,
    pitch_a: tl.tensor,  # elements from one row as stored to the next
    pitch_b: tl.tensor,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
    A_TRANSPOSED: tl.constexpr,
    B_TRANSPOSED: tl.constexpr,
    B_SHARED: tl.constexpr,
    INPUT_PRECISION: tl.constexpr,
    SCALING: tl.constexpr,
    IMPRECISE: tl.constexpr,
    STORE: tl.constexpr,
    PROGRAMS: tl.constexpr,
    UPCAST: tl.constexpr,
) -> None:
    """c = a · b · scales, by warps that load and warps that multiply.

    Triton 3.7 gives loads and products their own warps only where the descriptors have two dims and are made here, the block has 4 warps,
    and the loops are two: so matrices that lie one after the other are one of more rows.
    """
    batches = lead
    batches_b = 1 if B_SHARED else lead
    if A_TRANSPOSED:
        a_tiles = tl.make_tensor_descriptor(a, [batches * k, m], [pitch_a, 1], [BLOCK_K, BLOCK_M])
    else:
        a_tiles = tl.make_tensor_descriptor(a, [batches * m, k], [pitch_a, 1], [BLOCK_M, BLOCK_K])
    if B_TRANSPOSED:
        b_tiles = tl.make_tensor_descriptor(b, [batches_b * n, k], [pitch_b, 1], [BLOCK_N, BLOCK_K])
    else:
        b_tiles = tl.make_tensor_descriptor(b, [batches_b * k, n], [pitch_b, 1], [BLOCK_K, BLOCK_N])
    if STORE == "pointer":
        c_tiles = c
    else:
        c_tiles = tl.make_tensor_descriptor(c, [batches * m, n], [n, 1], [BLOCK_M, BLOCK_N // 2 if STORE == "halves" else BLOCK_N])
    tiles_m = tl.cdiv(m, BLOCK_M)
    tiles_n = tl.cdiv(n, BLOCK_N)
    for tile in tl.range(tl.program_id(0), lead * tiles_m * tiles_n, PROGRAMS, warp_specialize=True):
        which, row, column = tile_at(tile, tiles_m, tiles_n, BLOCK_M, BLOCK_N, GROUP_M)
        which_b = 0 if B_SHARED else which
        # Rows of A and B, as stored, of the products before this one.
        a_m = 0 if A_TRANSPOSED else which * m
        a_k = which * k if A_TRANSPOSED else 0
        b_k = 0 if B_TRANSPOSED else which_b * k
        b_n = which_b * n if B_TRANSPOSED else 0
        sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        for done in range(0, k, BLOCK_K):
            x = load_tile(a_tiles, 0, a_m + row, a_k + done, A_TRANSPOSED)
            y = load_tile(b_tiles, 0, b_k + done, b_n + column, B_TRANSPOSED)
            x = as_multiplied(x, A_TRANSPOSED, UPCAST)
            y = as_multiplied(y, B_TRANSPOSED, UPCAST)
            if SCALING == "block":
                part = tl.dot(x, y, max_num_imprecise_acc=IMPRECISE)
                sums += part * scales_of_step(scale_a, scale_b, which, which_b, row, column, done // BLOCK_K, m, n, k, BLOCK_M)[:, None]
            else:
                sums = tl.dot(x, y, sums, input_precision=INPUT_PRECISION, max_num_imprecise_acc=IMPRECISE)
        sums = scaled_sums(sums, scale_a, scale_b, which, which_b, row, column, m, n, SCALING)
        if STORE == "pointer":
            store_tile(c, sums, which, row, column, m, n, STORE)
        else:
            store_tile(c_tiles, sums, 0, which * m + row, column, m, n, STORE)
