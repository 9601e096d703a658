"""The gate: a result is compared with the fp64 reference before it is timed, and again after. A point that fails has no time."""

from __future__ import annotations

import math

import torch

from benches.devices.base import Verdict
from kernels.op import Inputs, Kernel, Op, Point

NAN_BYTE = 0x7F  # all-ones but the sign: a NaN in both fp8 formats


def fill_nan(out: torch.Tensor) -> None:
    """So that an element nobody writes is seen."""
    if out.dtype.itemsize == 1:
        out.view(torch.uint8).fill_(NAN_BYTE)
    else:
        out.fill_(math.nan)


def check(op: Op, point: Point, kernel: Kernel, inputs: Inputs) -> Verdict:
    """Runs `kernel` once over a NaN-filled output and compares every element. `point` has the shape of `inputs`."""
    spoil(inputs, None)
    return verify(op, point, kernel.run(), inputs)


def spoil(inputs: Inputs, result: torch.Tensor | None) -> None:
    """NaN in the output buffer, and in an earlier result where it has memory of its own: a result may be a view of an operand."""
    fill_nan(inputs.out)
    if result is not None and result.untyped_storage().data_ptr() not in {t.untyped_storage().data_ptr() for t in inputs.operands}:
        fill_nan(result)


def verify(op: Op, point: Point, result: torch.Tensor | None, inputs: Inputs) -> Verdict:
    """Compares every element of a result with the fp64 reference of `inputs`."""
    if result is None:
        return Verdict(math.inf, "nothing was run")
    if result.shape != inputs.out.shape or result.dtype != inputs.out.dtype:
        got, want = (f"{tuple(t.shape)} {t.dtype}" for t in (result, inputs.out))
        return Verdict(math.inf, f"the result is {got}, expected {want}")
    if result.untyped_storage().data_ptr() in {t.untyped_storage().data_ptr() for t in inputs.operands}:
        return Verdict(math.inf, "the result is a view of an operand: nothing was computed that could be timed")
    expected = op.load("reference")(point, inputs.operands)
    allowed = op.load("tolerance")(point, inputs.operands, expected)
    return compare(result, expected, allowed)


def compare(result: torch.Tensor, expected: torch.Tensor, allowed: torch.Tensor) -> Verdict:
    """Largest |result − expected| / allowed. All of one shape, or `allowed` broadcasting; expected and allowed fp64."""
    error = (result.double() - expected).abs()
    allowed = allowed.expand_as(error)
    over = torch.where(error == 0, 0.0, error / allowed).nan_to_num(nan=math.inf, posinf=math.inf)
    worst = float(over.max())
    if worst <= 1:
        return Verdict(worst)
    flat = int(over.argmax())
    where = tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), error.shape))
    got, want, limit = (float(t.reshape(-1)[flat]) for t in (result, expected, allowed))
    count = int((over > 1).sum())
    problem = f"{count} of {error.numel()} elements are off; worst at {where}: got {got:.6g}, expected {want:.6g} ± {limit:.2g}"
    return Verdict(worst, problem)
