"""Operands, fp64 reference and tolerance of the elementwise functions."""

from __future__ import annotations

import torch

from kernels import tolerances
from kernels.elementwise import functions
from kernels.elementwise.spec import OP, function_of, out_precision
from kernels.op import Inputs, Point
from kernels.precisions import PRECISIONS
from kernels.tensors import Maker

functions.bind(torch=torch)

AWAY_FROM_ZERO = 0.0625


def make_inputs(point: Point, device: str | torch.device, seed: int | None) -> Inputs:
    """(m, n) operands, then (n,) ones; roots and divisors at least 1/16. The output (m, n) is uninitialised."""
    m, n = point.dims["m"], point.dims["n"]
    maker = Maker(point.options["data"], device, seed)
    f = function_of(point)
    operands = [maker.tensor((m, n), point.precision) for _ in range(f.matrices)]
    operands += [maker.tensor((n,), point.precision) for _ in range(f.vectors)]
    if f.positive and not maker.valueless:
        last = operands[-1]
        operands[-1] = last.float().abs().add_(AWAY_FROM_ZERO).to(last.dtype)
    return Inputs(tuple(operands), maker.out((m, n), out_precision(point), OP.impls[point.impl], point))


def reference(point: Point, operands: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """f in fp64, (m, n)."""
    return function_of(point).reference(*(t.double() for t in operands))


def tolerance(point: Point, operands: tuple[torch.Tensor, ...], expected: torch.Tensor) -> torch.Tensor:
    """kernels/tolerances.py with the magnitudes that the formula passes through; exact for copies."""
    f = function_of(point)
    if f.exact:
        return torch.zeros((), dtype=torch.float64, device=expected.device)
    if f.converts:
        return tolerances.rounding(expected, out_precision(point))
    magnitudes = [t.double().abs() for t in operands]
    allowed = tolerances.pointwise(expected, f.magnitude(expected.abs(), sum(magnitudes)), point.precision)
    return allowed + f.steps(PRECISIONS[point.precision].unit_roundoff, expected.abs(), *magnitudes)
