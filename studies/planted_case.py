"""A planted error, the right result that it spoils, and the errors that a kernel of any op can have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from benches.correctness import fill_nan, tensors
from kernels.op import Inputs, Point
from kernels.registry import OPS

TILE = 16


@dataclass(frozen=True)
class Case:
    """A point and an error; `spoil(point, inputs, right)` gives what the faulty kernel would return: a tensor, or a tuple of them."""

    point: Point
    error: str
    spoil: Callable[[Point, Inputs, Any], Any]


def right_result(point: Point, inputs: Inputs) -> Any:
    """The fp64 reference rounded once to the output's precision, the best that any kernel can do; of a view, the view."""
    if OPS[point.op].is_view(point):
        return inputs.operands[0].as_strided(inputs.out.shape, inputs.out.stride(), inputs.out.storage_offset())
    return recomputed(point, inputs, inputs.operands)


def recomputed(point: Point, inputs: Inputs, operands: tuple[torch.Tensor, ...]) -> Any:
    """What a kernel that computes right makes of these operands."""
    return rounded(inputs, OPS[point.op].load("reference")(point, operands))


def rounded(inputs: Inputs, exact: Any) -> Any:
    """fp64 results in the output's precision."""
    results = tuple(t.to(out.dtype).contiguous() for t, out in zip(tensors(exact), tensors(inputs.out), strict=True))
    return results if isinstance(inputs.out, tuple) else results[0]


def wrong_tile(point: Point, inputs: Inputs, right: torch.Tensor) -> torch.Tensor:
    """One tile holds its neighbour's result."""
    spoiled = right.clone()
    spoiled[..., :TILE, :TILE] = right[..., :TILE, TILE : 2 * TILE]
    return spoiled


def unwritten_edge(point: Point, inputs: Inputs, right: torch.Tensor) -> torch.Tensor:
    """The ragged last column is never stored: it keeps the NaN that the gate filled in."""
    spoiled = torch.empty_like(right)
    fill_nan(spoiled)
    spoiled[..., :-1] = right[..., :-1]
    return spoiled


def one_wrong_element(point: Point, inputs: Inputs, right: torch.Tensor) -> torch.Tensor:
    """The last element is its neighbour's."""
    spoiled = right.clone()
    spoiled[..., -1, -1] = right[..., -2, -2]
    return spoiled
