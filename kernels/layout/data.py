"""Operands, fp64 reference and tolerance of layout."""

from __future__ import annotations

import torch

from kernels.layout.spec import OP, operand_shapes, sizes
from kernels.layout.strided import FUNCTIONS, result
from kernels.op import Inputs, Point
from kernels.tensors import Maker, dtype_of


def make_inputs(point: Point, device: str | torch.device, seed: int | None) -> Inputs:
    """The operands row-major. `out` has the strides and the offset that the result must have, and memory where a kernel writes to it."""
    maker = Maker(point.options["data"], device, seed)
    operands = tuple(maker.tensor(shape, point.precision) for shape in operand_shapes(point))
    wanted = result(*sizes(point))
    if not OP.impls[point.impl].allocates(point):
        return Inputs(operands, maker.empty(wanted.shape, point.precision))
    memory = torch.empty(0, dtype=dtype_of(point.precision), device="meta")
    return Inputs(operands, memory.as_strided(wanted.shape, wanted.strides, wanted.offset))


def reference(point: Point, operands: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Element (r, c) is the operand's at offset + r·stride(0) + c·stride(1), in fp64."""
    name, m, n = sizes(point)
    if name == "cat":
        return torch.cat([t.double() for t in operands], dim=1)
    taken = FUNCTIONS[name].takes(m, n)
    picked = operands[0].double().as_strided(taken.shape, taken.strides, taken.offset)
    return picked.reshape(result(name, m, n).shape)


def tolerance(point: Point, operands: tuple[torch.Tensor, ...], expected: torch.Tensor) -> torch.Tensor:
    """None: elements are moved, not computed."""
    return torch.zeros((), dtype=torch.float64, device=expected.device)
