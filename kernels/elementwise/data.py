"""Operands, fp64 reference and tolerance of the elementwise functions."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from kernels import tolerances
from kernels.elementwise.spec import FUNCTIONS, OP, out_precision
from kernels.op import Inputs, Point
from kernels.precisions import PRECISIONS
from kernels.tensors import Maker

POSITIVE = ("sqrt", "rsqrt")  # operand moved to |x| + 1/16
AWAY_FROM_ZERO = 0.0625


def make_inputs(point: Point, device: str | torch.device, seed: int | None) -> Inputs:
    """(m, n) operands, then (n,) ones; roots and divisors at least 1/16. The output (m, n) is uninitialised."""
    m, n = point.dims["m"], point.dims["n"]
    function = point.options["function"]
    maker = Maker(point.options["data"], device, seed)
    f = FUNCTIONS[function]
    operands = [maker.tensor((m, n), point.precision) for _ in range(f.matrices)]
    operands += [maker.tensor((n,), point.precision) for _ in range(f.vectors)]
    if (function in POSITIVE or function == "div") and not maker.valueless:
        last = operands[-1]
        operands[-1] = last.float().abs().add_(AWAY_FROM_ZERO).to(last.dtype)
    return Inputs(tuple(operands), maker.out((m, n), out_precision(point), OP.impls[point.impl], point))


def _gelu(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def _gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


REFERENCES: dict[str, Callable[..., torch.Tensor]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "pow2": lambda x: x * x,
    "sqrt": torch.sqrt,
    "rsqrt": lambda x: 1 / torch.sqrt(x),
    "exp": torch.exp,
    "relu": lambda x: x.clamp(min=0),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "triu": torch.triu,
    "copy": lambda x: x,
    "cast": lambda x: x,
    "bias_gelu_residual": lambda x, r, b: r + _gelu(x + b),
}


def reference(point: Point, operands: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """f in fp64, (m, n)."""
    return REFERENCES[point.options["function"]](*(t.double() for t in operands))


def tolerance(point: Point, operands: tuple[torch.Tensor, ...], expected: torch.Tensor) -> torch.Tensor:
    """kernels/tolerances.py with the magnitudes that the formula passes through; exact for copies."""
    function = point.options["function"]
    if function in ("copy", "triu", "relu"):
        return torch.zeros((), dtype=torch.float64, device=expected.device)
    if function == "cast":
        return tolerances.rounding(expected, out_precision(point))
    magnitudes = sum(t.double().abs() for t in operands)
    scale = expected.abs() * (1 + magnitudes) if function == "exp" else expected.abs() + magnitudes
    allowed = tolerances.pointwise(expected, scale, point.precision)
    u = PRECISIONS[point.precision].unit_roundoff
    # What PyTorch computes in more than one step is rounded to the precision in between.
    if function == "rsqrt":  # on CPUs the columns that no vector register fills take 1 / (√x rounded)
        allowed += u * expected
    if function == "bias_gelu_residual":  # x + b, and gelu of it, whose slope is at most 1.13
        x, _, b = (t.double().abs() for t in operands)
        allowed += 2 * 1.13 * u * (x + b)
    return allowed
