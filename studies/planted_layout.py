"""Errors of views, copies and rearrangements: the wrong elements, a copy where a view was asked for, the wrong strides."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from kernels.op import Inputs, Point
from kernels.registry import OPS
from studies.planted_case import Case, one_wrong_element, unwritten_edge, wrong_tile

FORMATS = ("fp32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2")


def copied(point: Point, inputs: Inputs, right: torch.Tensor) -> torch.Tensor:
    """A view was asked for, and every element is right: but it was moved."""
    return right.clone()


def wrong_offset(point: Point, inputs: Inputs, right: torch.Tensor) -> torch.Tensor:
    """The view starts one element too early."""
    return right.as_strided(right.shape, right.stride(), right.storage_offset() - 1)


def wrong_stride(point: Point, inputs: Inputs, right: torch.Tensor) -> torch.Tensor:
    """The view steps one element too little along its first dim."""
    return right.as_strided(right.shape, (right.stride(0) - 1, *right.stride()[1:]), right.storage_offset())


def left_as_a_view(point: Point, inputs: Inputs, right: torch.Tensor) -> torch.Tensor:
    """A copy was asked for, and the transposed view has its shape and its elements."""
    return inputs.operands[0].t()


def left_transposed(point: Point, inputs: Inputs, right: torch.Tensor) -> torch.Tensor:
    """Every element is copied, into memory that is still laid out by columns."""
    return right.t().contiguous().t()


def not_transposed(point: Point, inputs: Inputs, right: torch.Tensor) -> torch.Tensor:
    """The elements in the order in which they lay."""
    return inputs.operands[0].clone().view(right.shape)


def other_row(point: Point, inputs: Inputs, right: torch.Tensor) -> torch.Tensor:
    """The last row holds its neighbour's."""
    spoiled = right.clone()
    spoiled[-1] = right[-2]
    return spoiled


def missing_tail(point: Point, inputs: Inputs, right: torch.Tensor) -> torch.Tensor:
    """The last of what is reduced is left out, as when its count is rounded down to a block."""
    (x,) = inputs.operands
    dims = {**point.dims, "seq": point.dims["seq"] - 1}
    short = OPS["einops"].point(point.impl, point.precision, dims, point.options)
    return OPS["einops"].load("reference")(short, (x[:, :-1],)).to(right.dtype)


def cases() -> Iterator[Case]:
    """Every precision, with each error that its kind of result can have."""
    layout, einops = OPS["layout"], OPS["einops"]
    for precision in FORMATS:
        for name, errors in {
            "transpose": (copied, wrong_stride),
            "slice": (copied, wrong_offset, wrong_stride),
            "column": (copied, wrong_offset, wrong_stride),
            "contiguous": (wrong_tile, unwritten_edge, one_wrong_element, left_as_a_view, left_transposed, not_transposed),
            "cat": (wrong_tile, unwritten_edge, one_wrong_element),
        }.items():
            impl = "torch" if "copied" in {e.__name__ for e in errors} else "triton"
            point = layout.point(impl, precision, {"m": 67, "n": 59}, {"function": name})
            yield from (Case(point, spoil.__name__, spoil) for spoil in errors)
        split = einops.point("torch", precision, {"h": 7, "w": 11, "c": 13}, {"pattern": "(h w) c -> c h w"})
        merge = einops.point("torch", precision, {"h": 7, "w": 11, "c": 13}, {"pattern": "h w c -> (w h) c"})
        yield from (Case(split, spoil.__name__, spoil) for spoil in (copied, wrong_stride))
        yield from (Case(merge, spoil.__name__, spoil) for spoil in (other_row, not_transposed))
        for reduction in ("sum", "mean", "max", "min") if not precision.startswith("fp8") else ():
            options = {"pattern": "batch seq hidden -> batch hidden", "reduction": reduction}
            point = einops.point("torch", precision, {"batch": 17, "seq": 31, "hidden": 43}, options)
            yield from (Case(point, spoil.__name__, spoil) for spoil in (one_wrong_element, other_row, missing_tail))
