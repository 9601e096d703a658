"""matmul in Triton: one strided, batched kernel for every layout and precision; the einsums use it too.

Accumulated in fp32. The groups batch, m, n and k are any number of dims each (kernels/matmul/product.py), so layouts, leading dims and
whole equations are nothing but sizes and strides. Only tf32 and fp8 operands of matmul are copied, where that takes less time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
import triton
import triton.language as tl

from kernels.compilation import INTERPRETED, Compilation, describe, platform_of, sm_count_of
from kernels.matmul import along_k, bulk
from kernels.matmul.choice import choice_of, choose_for, choose_product
from kernels.matmul.configs import GROUP_M, Config, configs
from kernels.matmul.data import make_inputs
from kernels.matmul.product import Dim, Product, batched, size_of
from kernels.matmul.recipe import IMPRECISE_PRODUCTS, UNSCALED, Recipe, recipe_of
from kernels.matmul.spec import BULK_KERNELS, OP
from kernels.matmul.tiles import tile_at
from kernels.op import Inputs, Kernel, Point
from kernels.precisions import PRECISIONS

__all__ = ["bind", "build", "choose_for", "choose_product", "describe_point", "describe_product", "recipe_of"]

ADD_BLOCK = 1024  # elements of the result that one block of add_parts_kernel sums


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


def build(point: Point, inputs: Inputs) -> Kernel:
    """The product into `inputs.out`, with the config that is chosen for the point; the shapes are those of the tensors."""
    config, origin = choice_of(point, sm_count_of(inputs.out), platform_of(inputs.out))
    if config.kernel in BULK_KERNELS:
        return bulk.build(point, inputs)
    compiled: list[Any] = []
    run = bind_copied(inputs, point.precision, config, compiled, recipe_of(point))
    return Kernel(run, str(config), config_origin=origin, compiled=compiled)


def bind_copied(inputs: Inputs, precision: str, config: Config, compiled: list[Any], recipe: Recipe) -> Callable[[], torch.Tensor]:
    """A call that copies the config's `copied` operands along k, then writes the product to `inputs.out`, and returns it. The copies are
    made anew each time, into memory that is allocated here."""
    a, b, *scales = inputs.operands
    factors = copied_along_k(a, b, config)
    of_product: list[Any] = []
    p = product_of(*factors, inputs.out)
    multiply = bind(p, *factors, *scales, out=inputs.out, precision=precision, config=config, compiled=of_product, recipe=recipe)
    # B as its columns: (…, n, k).
    pairs = [pair for name, *pair in (("a", a, factors[0]), ("b", b.mT, factors[1].mT)) if name in config.copied]
    copies = [along_k.bind(operand, target) for operand, target in pairs]

    def run() -> torch.Tensor:
        ran = [copy() for copy in copies]
        result = multiply()
        compiled[:] = ran + of_product
        return result

    return run


def copied_along_k(a: torch.Tensor, b: torch.Tensor, config: Config) -> tuple[torch.Tensor, torch.Tensor]:
    """A and B, with memory for a copy in the place of each that the config copies."""
    return along_k.copied(a) if "a" in config.copied else a, along_k.copied(b.mT).mT if "b" in config.copied else b


def product_of(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> Product:
    """a (…, m, k) · b (…, k, n) = c (…, m, n) as sizes and strides; b's leading dims broadcast."""
    b = b.expand(*c.shape[:-2], *b.shape[-2:])
    return batched(c.shape, a.shape[-1], a.stride(), b.stride(), c.stride())


def bind(
    p: Product,
    a: torch.Tensor,
    b: torch.Tensor,
    scale_a: torch.Tensor | None = None,
    scale_b: torch.Tensor | None = None,
    *,
    out: torch.Tensor,
    precision: str,
    config: Config,
    compiled: list[Any],
    recipe: Recipe = UNSCALED,
) -> Callable[[], torch.Tensor]:
    """A call that writes the product to `out`, which is row-major, and returns it. Scales are fp32.

    Each call leaves in `compiled` the kernels that ran.
    """
    # The interpreter truncates to bf16 and drops the carry of a mantissa rounded up to fp8: there the kernel writes fp32, torch rounds.
    target = torch.empty(out.shape, device=out.device) if INTERPRETED else out
    written = torch.empty((config.split, *out.shape), device=out.device) if config.split > 1 else target
    tensors = arguments(p, a, b, written, config, scale_a, scale_b)
    settings = constants(p, precision, config, recipe)
    launch = matmul_kernel[(tiles(p, config) * size_of(p.batch) * config.split,)]
    add = add_parts_kernel[(math.ceil(out.numel() / ADD_BLOCK),)]

    def run() -> torch.Tensor:
        ran = [launch(**tensors, **settings, num_warps=config.warps, num_stages=config.stages, **config.compile_options)]
        if config.split > 1:
            ran.append(add(target, written, out.numel(), config.split, ADD_BLOCK))
        compiled[:] = ran
        return out.copy_(target) if INTERPRETED else out

    return run


def tiles(p: Product, config: Config) -> int:
    """Tiles of one product."""
    return math.ceil(size_of(p.m) / config.block_m) * math.ceil(size_of(p.n) / config.block_n)


def arguments(
    p: Product,
    a: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    config: Config,
    scale_a: torch.Tensor | None = None,
    scale_b: torch.Tensor | None = None,
) -> dict[str, Any]:
    """What the kernel is given, but for its constants. A group without dims is one of size 1."""
    batch, m, n, k = (group or (Dim(1),) for group in (p.batch, p.m, p.n, p.k))
    named: dict[str, Any] = {"a": a, "b": b, "c": c, "scale_a": scale_a, "scale_b": scale_b}
    named |= {name: tuple(d.size for d in group) for name, group in (("batch", batch), ("m", m), ("n", n), ("k", k))}
    named |= {"batch_a": tuple(d.a for d in batch), "batch_b": tuple(d.b for d in batch), "batch_c": tuple(d.c for d in batch)}
    named |= {"m_a": tuple(d.a for d in m), "m_c": tuple(d.c for d in m), "n_b": tuple(d.b for d in n), "n_c": tuple(d.c for d in n)}
    named |= {"k_a": tuple(d.a for d in k), "k_b": tuple(d.b for d in k)}
    named |= {"steps_a": steps(named["k"], named["k_a"], config.block_k), "steps_b": steps(named["k"], named["k_b"], config.block_k)}
    return named | {"split_c": c.numel() // config.split}


def steps(sizes: tuple[int, ...], strides: tuple[int, ...], block: int) -> tuple[int, ...]:
    """By how much an address moves where the counter of a dim advances: for the innermost `block` elements; for the others their stride,
    less the way that the dim inside has come."""
    moves = [block * strides[-1]]
    way = math.ceil(sizes[-1] / block) * moves[0]
    for size, stride in zip(reversed(sizes[:-1]), reversed(strides[:-1]), strict=True):
        moves.insert(0, stride - way)
        way = size * stride
    return tuple(moves)


def constants(p: Product, precision: str, config: Config, recipe: Recipe = UNSCALED) -> dict[str, Any]:
    """The kernel's compile-time arguments."""
    furthest = [sum((d.size - 1) * getattr(d, t) for d in (*p.m, *p.n, *p.k[-1:])) for t in ("a", "b", "c")]
    return {
        "BLOCK_M": config.block_m,
        "BLOCK_N": config.block_n,
        "BLOCK_K": config.block_k,
        "GROUP_M": GROUP_M,
        "SPLIT": config.split,
        "WIDE_A": p.wide_a,
        "WIDE_B": p.wide_b,
        "WIDE_C": p.wide_c,
        "FEW_ROWS": 2 * size_of(p.m) <= config.block_m,
        "EVEN_K": bool(p.k) and p.k[-1].size % config.block_k == 0,
        "INPUT_PRECISION": "ieee" if precision == "fp32" else "tf32",
        "SCALING": recipe.scaling,
        "IMPRECISE": min(IMPRECISE_PRODUCTS, config.block_k) if recipe.slow else None,
        # The interpreter multiplies bf16 as raw uint16. A product of two bf16 is exact in fp32, as in the tensor core, so this
        # changes nothing but the order of the sums.
        "UPCAST": INTERPRETED and precision == "bf16",
        "LONG": max(furthest) >= 2**31,
    }


ALIGNED = {"m": 4096, "n": 4096, "k": 4096}  # long enough that nothing is specialised away
EDGE = {"m": 127, "n": 129, "k": 4096}  # rows along k are aligned; the result's are not
RAGGED = {"m": 127, "n": 129, "k": 131}


RECIPES = (Recipe("row"), Recipe("row", slow=True), Recipe("block"))


def compilations() -> Iterator[Compilation]:
    """Every precision × shipped config × layout at an aligned shape; the configs of ragged shapes at one, in the usual layouts; fp8 recipes
    in layout nt; k split; operands that are copied along k.

    fp16 and fp8_e5m2 load ragged operands as bf16 and fp8_e4m3 do, so those stand for them.
    """
    capability = platform_of(torch.empty(1, device="meta")).capability
    for precision in PRECISIONS:
        for config in configs(precision, capability=capability):
            for layout in OP.options["layout"].choices:
                yield compilation(precision, config, ALIGNED, layout, layout)
        if precision in ("fp16", "fp8_e5m2"):
            continue
        yield compilation(precision, configs(precision, capability=capability)[0], EDGE, "nt", "edge_nt")
        for config in configs(precision, aligned=False, capability=capability):
            for layout in ("nn", "nt"):
                yield compilation(precision, config, RAGGED, layout, f"ragged_{layout}")
    for recipe in RECIPES:
        for config in configs("fp8_e4m3", scaling=recipe.scaling, slow=recipe.slow, capability=capability):
            yield compilation("fp8_e4m3", config, ALIGNED, "nt", "nt", recipe)
    for config in configs("fp8_e4m3", aligned=False, scaling="block", capability=capability):
        yield compilation("fp8_e4m3", config, RAGGED, "nt", "ragged_nt", Recipe("block"))
    smallest = configs("bf16", capability=capability)[-1]
    yield compilation("bf16", replace(smallest, split=4), {"m": 16, "n": 1024, "k": 4096}, "nt", "few_rows_nt")
    yield compilation("bf16", smallest, {"m": 1, "n": 8192, "k": 8192}, "nn", "one_row_nn")
    yield from copying_compilations()
    yield from bulk.compilations()


def copying_compilations() -> Iterator[Compilation]:
    """The products whose operands are copied along k, with the config of the rule, and the copy; none where the rule copies nothing."""
    for precision in ("tf32", "fp8_e4m3", "fp8_e5m2"):
        for layout in ("nn", "tn", "tt"):
            point = OP.point("triton", precision, ALIGNED, {"layout": layout})
            inputs = make_inputs(point, "meta", None)
            config = choose_for(point, sm_count_of(inputs.out), platform_of(inputs.out))
            if config.copied:
                yield describe_point(point, config, layout)
            if config.copied == "ab":
                yield along_k.describe_copy(inputs.operands[0], OP.name, precision, "copy_along_k")


def compilation(
    precision: str, config: Config, dims: dict[str, int], layout: str, variant: str, recipe: Recipe | None = None
) -> Compilation:
    """One shape and layout, by name, for `inspect`. recipe: of fp8, other than one scale a tensor and fast sums."""
    options = {"layout": layout}
    if recipe:
        options |= {"scaling": recipe.scaling, "accumulation": "slow" if recipe.slow else "fast"}
        variant += f"_{recipe.scaling}" + "_slow" * recipe.slow
    return describe_point(OP.point("triton", precision, dims, options), config, variant)


def describe_point(point: Point, config: Config, variant: str) -> Compilation:
    """The product that `build` would compile for a point with this config, under the name of a variant."""
    if config.kernel in BULK_KERNELS:
        return bulk.describe_point(point, config, variant)
    inputs = make_inputs(point, "meta", None)
    a, b, *scales = inputs.operands
    a, b = copied_along_k(a, b, config)
    p = product_of(a, b, inputs.out)
    return describe_product(OP.name, point.precision, config, variant, p, a, b, *scales, out=inputs.out, recipe=recipe_of(point))


def describe_product(
    op: str,
    precision: str,
    config: Config,
    variant: str,
    p: Product,
    a: torch.Tensor,
    b: torch.Tensor,
    *scales: torch.Tensor,
    out: torch.Tensor,
    recipe: Recipe = UNSCALED,
) -> Compilation:
    """What `bind` would compile for the product itself."""
    c = torch.empty((config.split, *out.shape), device="meta") if config.split > 1 else out
    tensors = arguments(p, a, b, c, config, *scales)
    settings = constants(p, precision, config, recipe)
    described = describe(matmul_kernel, tensors, settings, op, precision, variant, str(config), config.warps, config.stages, "dot")
    return replace(described, options=config.compile_options)
