"""Errors that a kernel of any op can have, for ops without errors of their own: a new op is covered by being registered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from benches.correctness import fill_nan, tensors
from benches.doctor.selftest import shipped_examples, small
from kernels.op import Inputs, Point
from kernels.precisions import PRECISIONS
from kernels.registry import OPS, impl_of
from kernels.support import Platform
from studies.planted_case import Case, recomputed

GPU = Platform("cuda", (9, 0))


def unwritten_end(point: Point, inputs: Inputs, right: Any) -> Any:
    """The last element of the largest output is never stored: it keeps the NaN that the gate filled in."""

    def unwritten(t: torch.Tensor) -> torch.Tensor:
        spoiled = torch.empty_like(t).flatten()
        fill_nan(spoiled)
        spoiled[:-1] = t.flatten()[:-1]
        return spoiled.view(t.shape)

    return with_largest(right, unwritten)


def neighbours(point: Point, inputs: Inputs, right: Any) -> Any:
    """Off by one: each element of the largest output is the one before."""
    return with_largest(right, lambda t: t.flatten().roll(1).view(t.shape))


def other_operand(point: Point, inputs: Inputs, right: Any) -> Any:
    """The largest operand of numbers is read backwards."""
    largest = max((t for t in inputs.operands if t.is_floating_point()), key=torch.Tensor.numel)
    return recomputed(point, inputs, tuple(backwards(t) if t is largest else t for t in inputs.operands))


def backwards(t: torch.Tensor) -> torch.Tensor:
    """The elements in reverse order. torch cannot flip fp8, so its bits are flipped as integers."""
    bits = t.view(torch.uint8) if t.dtype.itemsize == 1 else t
    return bits.flatten().flip(0).view(t.shape).view(t.dtype)


def with_largest(right: Any, spoil: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The result with its largest tensor spoiled."""
    largest = max(tensors(right), key=torch.Tensor.numel)
    results = tuple(spoil(t) if t is largest else t for t in tensors(right))
    return results if isinstance(right, tuple) else results[0]


def cases(ops: Iterable[str]) -> Iterator[Case]:
    """Each error once for each op and precision, at a small ragged shape of a shipped sweep."""
    examples = shipped_examples()
    for op in ops:
        for precision in PRECISIONS:
            possible = (p for example in examples[op] for impl in OPS[op].impls for p in small(OPS[op], impl, precision, example))
            point = next((p for p in possible if impl_of(p).unsupported(p, GPU) is None), None)
            if point is not None:
                yield from (Case(point, spoil.__name__, spoil) for spoil in (unwritten_end, neighbours, other_operand))
