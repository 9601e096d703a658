"""elementwise in Triton: one kernel that computes in fp32 and rounds once, and one that moves bits (copy, triu).

Both are flat: element i of the (m, n) matrices lies in row i // n and column i % n.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import triton
import triton.language as tl

from kernels.compilation import INTERPRETED, Compilation, Expectation, describe, sm_count_of
from kernels.elementwise import fast_math, functions
from kernels.elementwise.configs import Config, Tile, choose, configs, tile
from kernels.elementwise.data import make_inputs
from kernels.elementwise.functions import FUNCTIONS
from kernels.elementwise.spec import OP, function_of, out_precision
from kernels.op import Inputs, Kernel, Point
from kernels.precisions import PRECISIONS

BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32}  # integer as wide as an element
VECTOR = 16  # bytes of the widest load or store
functions.bind(tl=tl, reciprocal=fast_math.reciprocal, exp2=fast_math.exp2, gelu_by_erf=fast_math.gelu_by_erf)
BODIES = {name: triton.jit(f.kernel) for name, f in FUNCTIONS.items()}


@triton.jit
def flat_index(BLOCK: tl.constexpr, LONG: tl.constexpr, WIDENS: tl.constexpr = 0) -> tl.tensor:
    """Indices of the elements that this program works on.

    WIDENS: so many neighbours, if any, are all that a thread loads at once.
    """
    block = tl.program_id(0)
    if LONG:  # 2³¹ elements or more; 32 bits divide by n several times faster
        block = block.to(tl.int64)
    index = block * BLOCK + tl.arange(0, BLOCK)
    return tl.max_contiguous(index, WIDENS) if WIDENS else index


@triton.jit
def compute_kernel(
    out: tl.tensor,  # (m, n)
    x: tl.tensor,  # (m, n)
    y: tl.tensor,  # (m, n) or None
    v: tl.tensor,  # (n,) or None
    count: tl.tensor,  # m · n
    n: tl.tensor,
    FUNCTION: tl.constexpr,
    WIDENS: tl.constexpr,
    BLOCK: tl.constexpr,
    LONG: tl.constexpr,
) -> None:
    """out = FUNCTION(x, y, v), computed in fp32; contiguous, v broadcast over the rows.

    WIDENS: 0, or the elements of one 128-bit store where the result's are wider than the operands': a thread that loads more of them at
    once has to pass some to other threads, through shared memory.
    """
    i = flat_index(BLOCK, LONG, WIDENS)
    inside = i < count
    # Past the end stands 1, which no function divides by zero.
    first = tl.load(x + i, mask=inside, other=1.0).to(tl.float32)
    second = None
    if y is not None:
        second = tl.load(y + i, mask=inside, other=1.0).to(tl.float32)
    row = None
    if v is not None:
        row = tl.load(v + i % n, mask=inside, other=1.0).to(tl.float32)
    result = FUNCTION(first, second, row)
    tl.store(out + i, result.to(out.dtype.element_ty), mask=inside)


@triton.jit
def move_kernel(
    out: tl.tensor, x: tl.tensor, count: tl.tensor, n: tl.tensor, TRIANGLE: tl.constexpr, BLOCK: tl.constexpr, LONG: tl.constexpr
) -> None:
    """out = x, or its upper triangle; the bits are moved as they are."""
    i = flat_index(BLOCK, LONG)
    inside = i < count
    if TRIANGLE:
        # Sixteen elements are loaded or left out together, by whether the last of them reaches their row's diagonal: the loads stay
        # 128 bits wide, and most of the lower triangle is not read. A group that runs into the next row counts as reaching it.
        group = i // 16 * 16
        row = group // n
        value = tl.load(x + i, mask=inside & (group + 15 - row * n >= row), other=0)
        value = tl.where(i % n >= i // n, value, 0)
    else:
        value = tl.load(x + i, mask=inside)
    tl.store(out + i, value, mask=inside)


@triton.jit
def quantise_kernel(
    out: tl.tensor,  # (m, n)
    scales: tl.tensor,  # (scales of a row, m)
    x: tl.tensor,  # (m, n)
    m: tl.tensor,
    n: tl.tensor,
    share: tl.tensor,  # elements of a row that share a scale; a block takes so many of its rows
    largest: tl.constexpr,  # of out's type
    smallest: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ONCE: tl.constexpr,  # share is at most COLUMNS, so that x is read once
    LONG: tl.constexpr,
) -> None:
    """out = x / s and scales = s, s = max|x| / largest over `share` elements of a row, computed in fp32."""
    groups = tl.cdiv(n, share)
    group = tl.program_id(0) % groups
    row = tl.program_id(0) // groups * ROWS + tl.arange(0, ROWS)
    inside_m = row < m
    column = group * share + tl.arange(0, COLUMNS)
    end = tl.minimum(n, (group + 1) * share)
    start = (row.to(tl.int64) if LONG else row) * n
    at = start[:, None] + column[None, :]
    inside = inside_m[:, None] & (column < end)[None, :]
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    size = tl.abs(value)
    if not ONCE:
        for passed in range(COLUMNS, share, COLUMNS):
            more = tl.load(x + at + passed, mask=inside_m[:, None] & (column + passed < end)[None, :], other=0.0).to(tl.float32)
            size = tl.maximum(size, tl.abs(more))
    most = tl.maximum(tl.max(size, axis=1), smallest)
    tl.store(scales + group * m + row, tl.div_rn(most, largest), mask=inside_m)
    inverse = tl.div_rn(largest, most)[:, None]
    tl.store(out + at, (value * inverse).to(out.dtype.element_ty), mask=inside)
    if not ONCE:
        for passed in range(COLUMNS, share, COLUMNS):
            inside = inside_m[:, None] & (column + passed < end)[None, :]
            value = tl.load(x + at + passed, mask=inside, other=0.0).to(tl.float32)
            tl.store(out + at + passed, (value * inverse).to(out.dtype.element_ty), mask=inside)


def build(point: Point, inputs: Inputs) -> Kernel:
    """The function into `inputs.out`, with the block that the point's shape asks for; the shapes are those of the tensors."""
    compiled: list[Any] = []
    if function_of(point).share is not None:
        quantise = tile(shared(point))
        return Kernel(bind_quantise(point, inputs, quantise, compiled), str(quantise), compiled=compiled)
    config = choose(*element_sizes(point), point.dims["m"], point.dims["n"], sm_count_of(inputs.out))
    run = bind(point, inputs, config, compiled)
    return Kernel(run, str(config), compiled=compiled)


def element_sizes(point: Point) -> tuple[int, int]:
    """Bytes of an element read, and of one written."""
    return PRECISIONS[point.precision].bytes, PRECISIONS[out_precision(point)].bytes


def bind(point: Point, inputs: Inputs, config: Config, compiled: list[Any]) -> Any:
    """A call that writes to `inputs.out` and returns it, and leaves in `compiled` the kernel that ran."""
    out = inputs.out
    # The interpreter truncates to bf16 and drops the carry of a mantissa rounded up to fp8: there the kernel writes fp32, torch rounds.
    rounds = INTERPRETED and not function_of(point).bits
    target = torch.empty(out.shape, device=out.device) if rounds else out
    kernel, tensors, settings = call(point, Inputs(inputs.operands, target), config)
    launch = kernel[(math.ceil(out.numel() / config.block),)]

    def run() -> torch.Tensor:
        compiled[:] = [launch(**tensors, **settings, num_warps=config.warps)]
        return out.copy_(target) if rounds else out

    return run


def call(point: Point, inputs: Inputs, config: Config) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Kernel, arguments and compile-time arguments."""
    out, f = inputs.out, function_of(point)
    n = out.shape[1]
    settings: dict[str, Any] = {"BLOCK": config.block, "LONG": out.numel() + config.block > 2**31}
    if f.bits:  # as integers: the bits are never converted, so NaNs keep their payload
        bits = BITS[out.element_size()]
        tensors = {"out": out.view(bits), "x": inputs.operands[0].view(bits), "count": out.numel(), "n": n}
        return move_kernel, tensors, settings | {"TRIANGLE": f.bits == "upper"}
    matrices, vectors = inputs.operands[: f.matrices], inputs.operands[f.matrices :]
    y, v = matrices[1] if len(matrices) > 1 else None, vectors[0] if vectors else None
    tensors = {"out": out, "x": matrices[0], "y": y, "v": v, "count": out.numel(), "n": n}
    read, written = element_sizes(point)
    settings |= {"FUNCTION": BODIES[point.options["function"]], "WIDENS": VECTOR // written if written > read else 0}
    return compute_kernel, tensors, settings


def shared(point: Point) -> int:
    """Elements that share a scale: of a whole row where the function is not of blocks."""
    return function_of(point).share or point.dims["n"]


def bind_quantise(point: Point, inputs: Inputs, config: Tile, compiled: list[Any]) -> Any:
    """A call that writes to both of `inputs.out` and returns them, and leaves in `compiled` the kernel that ran."""
    out, scales = inputs.out
    target = torch.empty(out.shape, device=out.device) if INTERPRETED else out  # as in `bind`
    tensors, settings = quantise_call(point, Inputs(inputs.operands, (target, scales)), config)
    m, n = out.shape
    launch = quantise_kernel[(math.ceil(m / config.rows) * math.ceil(n / tensors["share"]),)]

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        compiled[:] = [launch(**tensors, **settings, num_warps=config.warps)]
        return out.copy_(target) if INTERPRETED else out, scales

    return run


def quantise_call(point: Point, inputs: Inputs, config: Tile) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments and compile-time arguments of `quantise_kernel`; the shapes are those of the tensors."""
    out, scales = inputs.out
    m, n = out.shape
    share = function_of(point).share or n
    settings = {
        "largest": PRECISIONS[out_precision(point)].max,
        "smallest": functions.SMALLEST,
        "ROWS": config.rows,
        "COLUMNS": config.columns,
        "ONCE": share <= config.columns,
        "LONG": (m + config.rows) * (n + config.columns) > 2**31,
    }
    return {"out": out, "scales": scales.mT, "x": inputs.operands[0], "m": m, "n": n, "share": share}, settings


ALIGNED = {"m": 4096, "n": 4096}
RAGGED = {"m": 67, "n": 131}
REPRESENTATIVES = ("add", "gelu", "triu", "bias_gelu_residual")  # two operands, transcendental, bits and columns, a row vector
CASTS = (("fp32", "bf16"), ("bf16", "fp8_e4m3"), ("fp32", "fp8_e5m2"), ("fp8_e4m3", "bf16"), ("bf16", "fp32"), ("fp8_e4m3", "fp32"))


QUANTISED = (  # rows in registers and read twice, and blocks
    ("quantise_rows", "bf16", "fp8_e4m3", ALIGNED, ""),
    ("quantise_rows", "bf16", "fp8_e5m2", {"m": 64, "n": 65536}, "long_"),
    ("quantise_rows", "fp32", "fp8_e4m3", RAGGED, "ragged_"),
    ("quantise_blocks", "bf16", "fp8_e4m3", ALIGNED, ""),
    ("quantise_blocks", "fp16", "fp8_e5m2", ALIGNED, ""),
    ("quantise_blocks", "bf16", "fp8_e4m3", RAGGED, "ragged_"),
)


def compilations() -> Iterator[Compilation]:
    """Every function in bf16; in the other precisions one of each kind; casts between widths; small blocks; ragged shapes."""
    for precision in PRECISIONS:
        if precision != "tf32":  # a way to multiply matrices
            for function in FUNCTIONS if precision == "bf16" else REPRESENTATIVES:
                if not FUNCTIONS[function].converts:
                    yield compilation(precision, {"function": function}, 0, ALIGNED)
    for source, to in CASTS:
        yield compilation(source, {"function": "cast", "to": to}, 0, ALIGNED)
    for function, precision, to, dims, prefix in QUANTISED:
        yield quantise_compilation(precision, {"function": function, "to": to}, dims, prefix)
    for function in REPRESENTATIVES:
        yield compilation("bf16", {"function": function}, 1, ALIGNED)
        yield compilation("bf16", {"function": function}, 0, RAGGED, "ragged_")


def compilation(precision: str, options: dict[str, str], which: int, dims: dict[str, int], prefix: str = "") -> Compilation:
    """One function and shape, by the number of its config, for `inspect`."""
    point = OP.point("triton", precision, dims, options)
    config = configs(*element_sizes(point))[which]
    kernel, tensors, settings = call(point, make_inputs(point, "meta", None), config)
    expects: Expectation = "any" if prefix else "wide_stores" if settings.get("WIDENS") else "wide"
    variant = prefix + "_to_".join(v for v in options.values())
    return describe(kernel, tensors, settings, OP.name, precision, variant, str(config), config.warps, 1, expects)


def quantise_compilation(precision: str, options: dict[str, str], dims: dict[str, int], prefix: str) -> Compilation:
    """One function and shape that quantises, for `inspect`."""
    point = OP.point("triton", precision, dims, options)
    config = tile(shared(point))
    tensors, settings = quantise_call(point, make_inputs(point, "meta", None), config)
    variant = prefix + "_to_".join(options.values())
    expects: Expectation = "any" if prefix == "ragged_" else "wide"
    return describe(quantise_kernel, tensors, settings, OP.name, precision, variant, str(config), config.warps, 1, expects)
