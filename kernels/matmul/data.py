"""Operands, fp64 reference and tolerance of matmul."""

from __future__ import annotations

import torch

from kernels import tolerances
from kernels.matmul.spec import OP, leading_shape, stored_shapes
from kernels.op import Inputs, Point
from kernels.precisions import PRECISIONS
from kernels.tensors import FP8_GAIN, Maker, narrow_last


def make_inputs(point: Point, device: str | torch.device, seed: int | None) -> Inputs:
    """A (…, m, k), B (…, k, n) as views of how they are stored; for fp8 also their fp32 scales, so that A·scale is N(0, 1).

    The output (…, m, n) is uninitialised: the gate fills it with NaN.
    """
    m, n, k = (point.dims[d] for d in "mnk")
    p = PRECISIONS[point.precision]
    maker = Maker(point.options["data"], device, seed)
    gain = FP8_GAIN if p.bytes == 1 else 1.0
    a_shape, b_shape = stored_shapes(point)
    layout = point.options["layout"]
    a = _view(maker.tensor(a_shape, p.name, gain), layout[0], k if layout[0] == "n" else m)
    b = _view(maker.tensor(b_shape, p.matmul_rhs, gain), layout[1], n if layout[1] == "n" else k)
    out = maker.out((*leading_shape(point.dims), m, n), p.matmul_out, OP.impls[point.impl], point)
    if p.bytes > 1:
        return Inputs((a, b), out)
    scales = [torch.full((), 1 / gain, device=maker.device, dtype=torch.float32) for _ in range(2)]
    return Inputs((a, b, *scales), out)


def _view(stored: torch.Tensor, letter: str, columns: int) -> torch.Tensor:
    rows_by_columns = narrow_last(stored, columns)
    return rows_by_columns if letter == "n" else rows_by_columns.mT


def reference(point: Point, operands: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """A·B·scale_a·scale_b in fp64, (…, m, n)."""
    a, b, *scales = (t.double() for t in operands)
    product = a @ b
    for scale in scales:
        product *= scale
    return product


def tolerance(point: Point, operands: tuple[torch.Tensor, ...], expected: torch.Tensor) -> torch.Tensor:
    """kernels/tolerances.py with R = ‖row of A‖ · ‖column of B‖ / √k."""
    a, b, *scales = (t.double() for t in operands)
    k = point.dims["k"]
    walk = a.norm(dim=-1, keepdim=True) * b.norm(dim=-2, keepdim=True) / k**0.5
    for scale in scales:
        walk *= scale
    return tolerances.contraction(expected, walk, point.precision, k)
