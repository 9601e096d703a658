"""Operand, fp64 reference and tolerance of einops."""

from __future__ import annotations

from math import prod

import torch

from kernels import tolerances
from kernels.einops_op.pattern import parse, shape
from kernels.einops_op.spec import result
from kernels.op import Inputs, Point
from kernels.tensors import Maker, dtype_of


def make_inputs(point: Point, device: str | torch.device, seed: int | None) -> Inputs:
    """One row-major operand of the pattern's left. `out` has the shape and strides that the result must have; einops allocates it."""
    maker = Maker(point.options["data"], device, seed)
    operand = maker.tensor(shape(parse(point.options["pattern"]).left, point.dims), point.precision)
    wanted = result(point)
    return Inputs((operand,), torch.empty_strided(wanted.shape, wanted.strides, dtype=dtype_of(point.precision), device="meta"))


def reference(point: Point, operands: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """In fp64: one dim an axis, the kept axes in the result's order before the others, those reduced, and dims grouped."""
    return reduced(point, kept_first(point, operands[0].double()), point.options["reduction"]).reshape(result(point).shape)


def kept_first(point: Point, operand: torch.Tensor) -> torch.Tensor:
    """(kept axes in the result's order …, all others as one)."""
    pattern = parse(point.options["pattern"])
    kept = [axis for group in pattern.right for axis in group]
    apart = operand.reshape([point.dims[axis] for axis in pattern.axes])
    ordered = apart.permute([pattern.axes.index(axis) for axis in (*kept, *pattern.reduced)])
    return ordered.reshape(*(point.dims[axis] for axis in kept), -1)


def reduced(point: Point, values: torch.Tensor, reduction: str) -> torch.Tensor:
    """Over the last dim, which has one element where nothing is reduced."""
    match reduction:
        case "sum":
            return values.sum(-1)
        case "mean":
            return values.sum(-1) / values.shape[-1]
        case "max":
            return values.amax(-1)
        case "min":
            return values.amin(-1)
        case _:
            return values.squeeze(-1)


def tolerance(point: Point, operands: tuple[torch.Tensor, ...], expected: torch.Tensor) -> torch.Tensor:
    """Exact where elements are moved or picked. A sum adds in fp32 and is rounded once: kernels/tolerances.py, an fp32 contraction of
    one operand, whose R is the norm of what is summed. A mean is that over the count, with a division's rounding in fp32."""
    reduction = point.options["reduction"]
    if reduction not in ("sum", "mean"):
        return torch.zeros((), dtype=torch.float64, device=expected.device)
    count = prod(point.dims[axis] for axis in parse(point.options["pattern"]).reduced)
    walk = kept_first(point, operands[0].double()).square().sum(-1).sqrt().reshape(expected.shape)
    error = tolerances.accumulation(expected if reduction == "sum" else expected * count, walk, "fp32", count)
    if reduction == "mean":
        error = error / count + tolerances.U32 * expected.abs()
    return tolerances.rounding(expected, point.precision) + error
