"""Operands, fp64 reference and tolerance of the elementwise functions."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from kernels import tolerances
from kernels.elementwise import functions
from kernels.elementwise.spec import OP, function_of, out_precision, scales_of_a_row
from kernels.op import Inputs, Point
from kernels.precisions import PRECISIONS
from kernels.tensors import Maker

functions.bind(torch=torch, F=F)

AWAY_FROM_ZERO = 0.0625


def make_inputs(point: Point, device: str | torch.device, seed: int | None) -> Inputs:
    """(m, n) operands, then (n,) ones; roots and divisors at least 1/16. The output (m, n) is uninitialised, as are the scales
    (m, scales of a row) that follow it where the function makes some."""
    m, n = point.dims["m"], point.dims["n"]
    maker = Maker(point.options["data"], device, seed)
    f = function_of(point)
    operands = [maker.tensor((m, n), point.precision) for _ in range(f.matrices)]
    operands += [maker.tensor((n,), point.precision) for _ in range(f.vectors)]
    if f.positive and not maker.valueless:
        last = operands[-1]
        operands[-1] = last.float().abs().add_(AWAY_FROM_ZERO).to(last.dtype)
    impl = OP.impls[point.impl]
    out = maker.out((m, n), out_precision(point), impl, point)
    if f.share is None:
        return Inputs(tuple(operands), out)
    return Inputs(tuple(operands), (out, maker.out((scales_of_a_row(point), m), "fp32", impl, point).mT))


def reference(point: Point, operands: tuple[torch.Tensor, ...]) -> Any:
    """f in fp64, (m, n), and its scales where it makes some."""
    f = function_of(point)
    largest = () if f.share is None else (PRECISIONS[out_precision(point)].max,)
    return f.reference(*(t.double() for t in operands), *largest)


def tolerance(point: Point, operands: tuple[torch.Tensor, ...], expected: Any) -> Any:
    """kernels/tolerances.py with the magnitudes that the formula passes through; exact for copies.

    A scale is a maximum, which is exact, divided once. What it divides is within a few fp32 roundings of x / s, and then rounded once.
    """
    f = function_of(point)
    if f.share is not None:
        values, scales = expected
        return tolerances.pointwise(values, values.abs(), out_precision(point)), tolerances.pointwise(scales, scales, "fp32")
    if f.exact:
        return torch.zeros((), dtype=torch.float64, device=expected.device)
    if f.converts:
        return tolerances.rounding(expected, out_precision(point))
    magnitudes = [t.double().abs() for t in operands]
    allowed = tolerances.pointwise(expected, f.magnitude(expected.abs(), sum(magnitudes)), point.precision)
    return allowed + f.steps(PRECISIONS[point.precision].unit_roundoff, expected.abs(), *magnitudes)
