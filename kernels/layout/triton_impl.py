"""The copies of layout in Triton: one kernel that takes a tile from any strides and lays it out row-major.

Where rows are read across (a transposed operand), Triton turns each tile in shared memory, so that loads and stores are both wide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import triton
import triton.language as tl

from kernels.compilation import ALIGNMENT, Compilation, Expectation, describe, platform_of
from kernels.layout.data import make_inputs
from kernels.layout.spec import OP, sizes
from kernels.layout.strided import FUNCTIONS
from kernels.op import Inputs, Kernel, Point
from kernels.support import Platform

BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32}  # integer as wide as an element: no number is made of the bits


@triton.jit
def copy_kernel(
    out: tl.tensor,  # (m, n), strides (out_m, out_n)
    x: tl.tensor,  # (m, n), strides (x_m, x_n)
    m: tl.tensor,
    n: tl.tensor,
    x_m: tl.tensor,
    x_n: tl.tensor,
    out_m: tl.tensor,
    out_n: tl.tensor,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    LONG: tl.constexpr,
) -> None:
    """out = x, each with strides of its own."""
    tiles_n = tl.cdiv(n, COLUMNS)
    tile = tl.program_id(0)
    r = tile // tiles_n * ROWS + tl.arange(0, ROWS)
    c = tile % tiles_n * COLUMNS + tl.arange(0, COLUMNS)
    if LONG:  # some address is 2³¹ elements away or more
        r = r.to(tl.int64)
        c = c.to(tl.int64)
    inside = (r < m)[:, None] & (c < n)[None, :]
    value = tl.load(x + r[:, None] * x_m + c[None, :] * x_n, mask=inside)
    tl.store(out + r[:, None] * out_m + c[None, :] * out_n, value, mask=inside)


@dataclass(frozen=True)
class Config:
    """Rows and columns of a tile, its warps, and the most registers that a thread may have (0: ptxas' own limit). Chosen so that a thread
    moves 128 bits at a time; not yet tuned on a GPU."""

    rows: int
    columns: int
    warps: int = 4
    registers: int = 0

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns} w{self.warps}" + (f" r{self.registers}" if self.registers else "")

    @property
    def compile_options(self) -> dict[str, int]:
        """What Triton is given besides warps."""
        return {"maxnreg": self.registers} if self.registers else {}


def choose(source: torch.Tensor, platform: Platform) -> Config:
    """Square where the source is read across its rows, so that both sides move whole sectors; else long rows.

    On Blackwell ptxas stops at 72 registers and spills where rows are copied element by element, unless it may use all that there are.
    """
    if source.stride(0) == 1 and source.stride(1) > 1:
        side = 128 if source.element_size() == 1 else 64
        return Config(side, side)
    by_element = source.shape[1] % ALIGNMENT != 0
    registers = 255 if platform.capability[0] == 10 and by_element else 0
    return Config(1 if source.shape[0] == 1 else 4, 4096 // source.element_size(), registers=registers)


def pieces(point: Point, inputs: Inputs) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(source, target) of each launch: matrices of one shape, as integers. `point` has the shape of `inputs`."""
    name, m, n = sizes(point)
    bits = BITS[inputs.out.element_size()]
    operands, out = [t.view(bits) for t in inputs.operands], inputs.out.view(bits)
    if name == "cat":
        return [(operands[0], out[:, :n]), (operands[1], out[:, n:])]
    taken = FUNCTIONS[name].takes(m, n)
    source = operands[0].as_strided(taken.shape, taken.strides, taken.offset)
    return [(torch.atleast_2d(source), torch.atleast_2d(out.view(taken.shape)))]


def build(point: Point, inputs: Inputs) -> Kernel:
    """The copy into `inputs.out`, in one launch, or two for cat; the shapes are those of the tensors."""
    shape = OP.point(point.impl, point.precision, dims_of(point, inputs), point.options)
    config = choose(pieces(point, make_inputs(point, "meta", None))[0][0], platform_of(inputs.out))
    calls = [call(source, target, config) for source, target in pieces(shape, inputs)]
    grids = [(triton.cdiv(t.shape[0], config.rows) * triton.cdiv(t.shape[1], config.columns),) for _, t in pieces(shape, inputs)]

    def run() -> torch.Tensor:
        for (arguments, settings), grid in zip(calls, grids, strict=True):
            copy_kernel[grid](**arguments, **settings, num_warps=config.warps, **config.compile_options)
        return inputs.out

    return Kernel(run, str(config))


def dims_of(point: Point, inputs: Inputs) -> dict[str, int]:
    """m and n of the tensors, which may be the shrunk twins of the point's."""
    x = inputs.operands[0]
    return {"m": inputs.out.shape[0] if x.dim() == 1 else x.shape[0], "n": x.shape[-1]}


def call(source: torch.Tensor, target: torch.Tensor, config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments and compile-time arguments of one launch."""
    (m, n), (x_m, x_n), (out_m, out_n) = source.shape, source.stride(), target.stride()
    arguments = {"out": target, "x": source, "m": m, "n": n, "x_m": x_m, "x_n": x_n, "out_m": out_m, "out_n": out_n}
    furthest = max((m + config.rows) * s_m + (n + config.columns) * s_n for s_m, s_n in ((x_m, x_n), (out_m, out_n)))
    return arguments, {"ROWS": config.rows, "COLUMNS": config.columns, "LONG": furthest >= 2**31}


WIDE = {"m": 4096, "n": 4096}
RAGGED = {"m": 67, "n": 131}


def compilations() -> Iterator[Compilation]:
    """Every copy in bf16, the transposing one in every element size, ragged shapes."""
    for name, function in FUNCTIONS.items():
        if function.makes.startswith("copy"):
            yield compilation("bf16", name, WIDE)
            yield compilation("bf16", name, RAGGED, "ragged_")
    for precision in ("fp32", "fp8_e4m3"):
        for name in ("clone", "contiguous"):
            yield compilation(precision, name, WIDE)


def compilation(precision: str, name: str, dims: dict[str, int], prefix: str = "") -> Compilation:
    """The first launch of a function at one shape, by name, for `inspect`."""
    point = OP.point("triton", precision, dims, {"function": name})
    source, target = pieces(point, make_inputs(point, "meta", None))[0]
    config = choose(source, platform_of(source))
    arguments, settings = call(source, target, config)
    wide = not prefix and name != "column_copy"  # whose elements lie a row apart
    expects: Expectation = "wide" if wide else "any"
    variant = prefix + name
    described = describe(copy_kernel, arguments, settings, OP.name, precision, variant, str(config), config.warps, 1, expects)
    return replace(described, options=config.compile_options)
