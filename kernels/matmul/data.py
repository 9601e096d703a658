"""Operands, fp64 reference and tolerance of matmul."""

from __future__ import annotations

import torch

from kernels import tolerances
from kernels.matmul.spec import OP, SCALE_BLOCK, leading_shape, recipe_unsupported, scale_shapes, stored_shapes
from kernels.op import Inputs, Point, Unsupported
from kernels.precisions import PRECISIONS
from kernels.tensors import FP8_GAIN, Maker, narrow_last


def make_inputs(point: Point, device: str | torch.device, seed: int | None) -> Inputs:
    """A (…, m, k), B (…, k, n) as views of how they are stored; for fp8 also their fp32 scales, so that A·scale is about N(0, 1).

    The output (…, m, n) is uninitialised: the gate fills it with NaN. Raises Unsupported for a recipe that the precision does not have.
    """
    if why := recipe_unsupported(point):
        raise Unsupported(why)
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
    return Inputs((a, b, *_scales(point, maker, gain)), out)


def _scales(point: Point, maker: Maker, gain: float) -> list[torch.Tensor]:
    """fp32 scales, around 1 / gain. Where there are several they differ by up to 4, so that a kernel that mixes them up is found."""
    shapes = scale_shapes(point)
    if point.options["scaling"] == "tensor":
        return [torch.full(shape, 1 / gain, device=maker.device, dtype=torch.float32) for shape in shapes]
    if point.options["scaling"] == "block":  # each contiguous along its first dim
        return [_spread((*shape[:-2], shape[-1], shape[-2]), maker, gain).mT for shape in shapes]
    return [_spread(shape, maker, gain) for shape in shapes]


def _spread(shape: tuple[int, ...], maker: Maker, gain: float) -> torch.Tensor:
    if maker.valueless:
        return torch.empty(shape, device=maker.device)
    drawn = torch.rand(shape, device=maker.device, generator=maker.generator)
    return drawn.mul_(1.5).add_(0.5).div_(gain)


def _view(stored: torch.Tensor, letter: str, columns: int) -> torch.Tensor:
    rows_by_columns = narrow_last(stored, columns)
    return rows_by_columns if letter == "n" else rows_by_columns.mT


def scaled(point: Point, operands: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """A and B in fp64, each times its scales."""
    a, b, *scales = (t.double() for t in operands)
    if not scales:
        return a, b
    scale_a, scale_b = scales
    if point.options["scaling"] == "block":
        scale_a = scale_a.repeat_interleave(SCALE_BLOCK, dim=-1)[..., : a.shape[-1]]
        scale_b = scale_b.repeat_interleave(SCALE_BLOCK, dim=-2)[..., : b.shape[-2], :]
        scale_b = scale_b.repeat_interleave(SCALE_BLOCK, dim=-1)[..., : b.shape[-1]]
    return a * scale_a, b * scale_b


def reference(point: Point, operands: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """(A·scale_a) · (B·scale_b) in fp64, (…, m, n)."""
    a, b = scaled(point, operands)
    return a @ b


def tolerance(point: Point, operands: tuple[torch.Tensor, ...], expected: torch.Tensor) -> torch.Tensor:
    """kernels/tolerances.py with R = ‖row of A‖ · ‖column of B‖ / √k."""
    a, b = scaled(point, operands)
    k = point.dims["k"]
    if point.options["scaling"] == "block":
        walk = _block_walk(a, b)
    else:
        walk = a.norm(dim=-1, keepdim=True) * b.norm(dim=-2, keepdim=True) / k**0.5
    promoted = "block" in point.options["scaling"] or point.options["accumulation"] == "slow"
    return tolerances.contraction(expected, walk, point.precision, k, promoted=promoted)


def _block_walk(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """R where scales differ from block to block: √Σ over the blocks of ‖row of A‖² · ‖column of B‖² / (elements of the block)."""
    total: torch.Tensor | float = 0.0
    for x, y in zip(a.split(SCALE_BLOCK, dim=-1), b.split(SCALE_BLOCK, dim=-2), strict=True):
        total = total + x.square().sum(-1, keepdim=True) * y.square().sum(-2, keepdim=True) / x.shape[-1]
    assert isinstance(total, torch.Tensor)  # k is at least 1
    return total.sqrt()
