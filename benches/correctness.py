"""The gate: a result is compared with the fp64 reference before it is timed, and again after. A point that fails has no time.

A result is a tensor or a tuple of tensors, each compared with its own reference and tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kernels.op import Inputs, Kernel, Op, Point

if TYPE_CHECKING:
    import torch

# Causes of a row that is wrong, where it is known how a kernel came by its result without computing it: docs/checks.md has each.
CACHED = "cheat_cached"
UNFINISHED = "cheat_unfinished"
LAZY = "cheat_lazy"
ALIASED = "cheat_aliased"
INPUTS_CHANGED = "cheat_inputs_changed"
PATCHED = "cheat_patched"
SETTINGS = "cheat_settings"
CHEATS = (CACHED, UNFINISHED, LAZY, ALIASED, INPUTS_CHANGED, PATCHED, SETTINGS)

VIEW_OF_OPERAND = "the result is a view of an operand, so there is no computation to time"
NAN_BYTE = 0x7F  # all-ones but the sign: a NaN in both fp8 formats


@dataclass(frozen=True)
class Verdict:
    """The gate's answer. `worst` is the largest error over its tolerance, infinite where an element is NaN or missing."""

    worst: float
    problem: str | None = None  # what is wrong and where, for a reader; None if the result is right
    cause: str | None = None  # one of CHEATS, where the kind is known

    @property
    def ok(self) -> bool:
        return self.problem is None


def fill_nan(out: torch.Tensor) -> None:
    """Fills with NaN, so that an element that nobody writes is seen; whole numbers with the largest one."""
    import torch

    if out.is_floating_point() or out.is_complex():
        if out.dtype.itemsize == 1:
            out.view(torch.uint8).fill_(NAN_BYTE)
        else:
            out.fill_(math.nan)
    else:  # whole numbers have no NaN: one that is hardly ever right
        out.fill_(True if out.dtype == torch.bool else torch.iinfo(out.dtype).max)


def check(op: Op, point: Point, kernel: Kernel, inputs: Inputs) -> Verdict:
    """Runs `kernel` once over a NaN-filled output and compares every element. `point` has the shape of `inputs`."""
    poison(inputs, None)
    return verify(op, point, kernel.run(), inputs)


def tensors(value: Any) -> tuple[torch.Tensor, ...]:
    """A tensor, a tuple of them or nothing, as a tuple."""
    return () if value is None else tuple(tuple.__iter__(value)) if isinstance(value, tuple) else (value,)


def memory_of(values: Any) -> set[int]:
    """Addresses of the memory that tensors lie in, whole or as views."""
    import torch

    return {t.untyped_storage().data_ptr() for t in tensors(values) if isinstance(t, torch.Tensor) and not t.is_meta}


def poison(inputs: Inputs, result: Any) -> None:
    """NaN in the output buffers, and in earlier results where they have memory of their own: some are views of an operand or update it."""
    kept = memory_of(inputs.operands)
    for tensor in (*tensors(inputs.out), *tensors(result)):
        if not memory_of(tensor) & kept:
            fill_nan(tensor)


def verify(op: Op, point: Point, result: Any, inputs: Inputs, operands: tuple[torch.Tensor, ...] | None = None) -> Verdict:
    """Compares every element of a result with the fp64 reference of `operands`: by default those of `inputs`, as they are now."""
    return formed(op, point, result, inputs) or compare_all(op, point, [result], inputs.operands if operands is None else operands)


def formed(op: Op, point: Point, result: Any, inputs: Inputs) -> Verdict | None:
    """What is wrong with a result before its values are looked at, or None."""
    if result is None:
        return Verdict(math.inf, "nothing was run")
    lazy = unreal(tensors(result))
    if lazy:
        return Verdict(math.inf, lazy, LAZY)
    problem = misfit(tensors(result), tensors(inputs.out))
    if problem:
        return Verdict(math.inf, problem)
    problem = misplaced(op, point, tensors(result), inputs)
    if problem:
        return Verdict(math.inf, problem, ALIASED if problem == VIEW_OF_OPERAND else None)
    problem = misstrided(tensors(result), tensors(inputs.out)) if op.exact_strides else None
    return Verdict(math.inf, problem) if problem else None


def compare_all(op: Op, point: Point, results: Sequence[Any], operands: tuple[torch.Tensor, ...]) -> Verdict:
    """The worst verdict on several results of the same operands, whose reference is computed once."""
    expected = op.load("reference")(point, operands)
    allowed = op.load("tolerance")(point, operands, expected)
    worst = Verdict(0.0)
    for result in results:
        for i, one in enumerate(zip(tensors(result), tensors(expected), tensors(allowed), strict=True)):
            verdict = compare(*one)
            if verdict.worst > worst.worst:
                several = f"output {i}: " if isinstance(result, tuple) else ""
                worst = Verdict(verdict.worst, verdict.problem and several + verdict.problem)
    return worst


def unreal(results: tuple[Any, ...]) -> str | None:
    """Which result is not a plain tensor in memory, or None: another object could compute its values when they are read."""
    import torch

    for result in results:
        if type(result) not in (torch.Tensor, torch.nn.Parameter):
            return f"the result is a {type(result).__name__}, expected a plain torch.Tensor, which holds its values when the call returns"
        if result.layout is not torch.strided or result.is_meta or result.is_conj() or result.is_neg():
            return "the result holds no values, or values that are computed when they are read; return a strided tensor that holds them"
    return None


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """The same memory as integers, so that NaN equals itself and every format can be compared; complex numbers as their parts."""
    import torch

    real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return real.view({1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[real.element_size()])


def same_bits(some: tuple[torch.Tensor, ...], others: tuple[torch.Tensor, ...]) -> bool:
    """Whether tensors of the same shapes and dtypes hold the same values, bit for bit."""
    import torch

    return all(torch.equal(bits(a), bits(b)) for a, b in zip(some, others, strict=True))


def misfit(results: tuple[torch.Tensor, ...], wanted: tuple[torch.Tensor, ...]) -> str | None:
    """What is wrong with the number, shapes or dtypes of the results, or None."""
    if len(results) != len(wanted):
        return f"there are {len(results)} results, expected {len(wanted)}"
    for result, out in zip(results, wanted, strict=True):
        if result.shape != out.shape or result.dtype != out.dtype:
            got, want = (f"{tuple(t.shape)} {t.dtype}" for t in (result, out))
            return f"the result is {got}, expected {want}"
    return None


def misplaced(op: Op, point: Point, results: tuple[torch.Tensor, ...], inputs: Inputs) -> str | None:
    """What is wrong with where the results lie, or None: a view shares an operand's memory, an update is made in place, all else is new."""
    if op.is_view(point):
        return None if memory_of(results) <= memory_of(inputs.operands) else "the result is a copy, but the point requests a view"
    if memory_of(results) & (memory_of(inputs.operands) - memory_of(inputs.updated)):
        return VIEW_OF_OPERAND
    if not memory_of(inputs.updated) <= memory_of(inputs.operands):
        return "an updated tensor must be one of the operands"
    return None


def misstrided(results: tuple[torch.Tensor, ...], wanted: tuple[torch.Tensor, ...]) -> str | None:
    """Which result is laid out in other strides or from another offset than is wanted, or None. A dim of one element has no stride."""
    for result, out in zip(results, wanted, strict=True):
        got, wants = ([s for s, size in zip(t.stride(), t.shape, strict=True) if size > 1] for t in (result, out))
        if (got, result.storage_offset()) != (wants, out.storage_offset()):
            found, expected = (f"strides {t.stride()} and offset {t.storage_offset()}" for t in (result, out))
            return f"the result has {found}, expected {expected}"
    return None


def compare(result: torch.Tensor, expected: torch.Tensor, allowed: torch.Tensor) -> Verdict:
    """Largest |result − expected| / allowed. All of one shape, or `allowed` broadcasting; expected and allowed fp64."""
    import torch

    error = (result.double() - expected).abs()
    allowed = allowed.expand_as(error)
    over = torch.where(error == 0, 0.0, error / allowed).nan_to_num(nan=math.inf, posinf=math.inf)
    worst = float(over.max())
    if worst <= 1:
        return Verdict(worst)
    flat = int(over.argmax())
    where = tuple(int(i) for i in np.unravel_index(flat, error.shape))  # torch's own imports sympy, which takes over a second
    got, want, limit = (float(t.reshape(-1)[flat]) for t in (result, expected, allowed))
    count = int((over > 1).sum())
    problem = f"{count} of {error.numel()} elements are off; worst at {where}: got {got:.6g}, expected {want:.6g} ± {limit:.2g}"
    return Verdict(worst, problem)
