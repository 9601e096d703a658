"""How far a right implementation may lie from any reference, found as in kernels/rounding.py: noise after each operator that PyTorch runs.

The reference is evaluated once on fp64 operands, which is the expected result, and a few times with noise in place of every rounding:

    operands    as a kernel reads them, in ±2⁻²⁴·|x|: what an ill-conditioned reference makes of that is no fault of a kernel's
    results     of each operator that computes: one rounding to the precision, and ULPS·2⁻²⁴·|x| for computing it in fp32
    sums        of products and of elements: besides, what the accumulator adds by kernels/tolerances.py, with the walk R of the terms

A reference that casts inside (`.float()`, `.to(torch.bfloat16)`) has chosen its precisions itself, and another may refuse fp64: it is
evaluated in its own dtypes, with noise of their roundings. Expected result and kernel then both err, so that the deviation counts twice,
and the tolerance is called estimated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from kernels import tolerances
from kernels.precisions import PRECISIONS
from kernels.rounding import DRAWS, GOLDEN, WIDEN, deviations, hashed, unit_roundoff

Reference = Callable[..., Any]

# Operators that move, choose or make elements: their results were rounded before. Views are recognised by their schema.
EXACT = {
    *("_to_copy", "abs", "amax", "amin", "argsort", "cat", "clone", "contiguous", "copy_", "embedding", "fill_", "flip", "gather", "index"),
    *("index_select", "masked_fill", "max", "min", "maximum", "minimum", "neg", "new_zeros", "ones_like", "pad", "relu", "repeat", "roll"),
    *(
        "scatter",
        "sign",
        "sort",
        "stack",
        "topk",
        "tril",
        "triu",
        "where",
        "zeros_like",
        "zero_",
        "constant_pad_nd",
        "max_pool2d_with_indices",
    ),
}


def terms(name: str, args: tuple[Any, ...], out: Tensor) -> int:
    """How many terms an element of an operator's result sums; 1 where it sums none."""
    if name in ("mm", "bmm", "mv", "dot"):
        return int(args[0].shape[-1])
    if name in ("addmm", "baddbmm", "addmv"):
        return int(args[1].shape[-1])
    if name == "convolution":
        return int(args[1].numel() // args[1].shape[0])
    if name in ("sum", "mean"):
        return max(1, args[0].numel() // max(1, out.numel()))
    if name == "cumsum":
        return int(args[0].shape[args[1]]) if args[0].dim() else 1
    return 1


class Noise(TorchDispatchMode):
    """Adds to what each operator computes the roundings of a right implementation, drawn from `seed`."""

    def __init__(self, precision: str, seed: int):
        super().__init__()
        self._precision, self._seed, self._places = precision, seed, count()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.partition("::")[2]
        walk = self._walk(func, name, args, kwargs)
        results = func(*args, **kwargs)
        if func.is_view or name in EXACT or not any(map(floating, tree_leaves((args, kwargs)))):
            return results
        for result in tree_leaves(results):
            if floating(result) and result.numel():
                self._round(result, walk, terms(name, args, result))
        return results

    def _walk(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
        """The size that a sum of such terms has for zero-mean data: the root of the sum of their squares, which the operator adds."""
        probe = next((a for a in args if floating(a)), None)
        if probe is None or terms(name, args, probe.new_empty(1)) == 1:
            return None
        squared = tuple(a.double().square() if floating(a) else a for a in args)
        squares = func(*squared, **{k: v for k, v in kwargs.items() if k != "dtype"}).abs()
        return (squares / max(1, args[0].numel() // max(1, squares.numel()))).sqrt() if name == "mean" else squares.sqrt()

    def _round(self, result: Tensor, walk: Tensor | None, k: int) -> None:
        """Adds the noise in place."""
        exact = result.double()
        precision, u, subnormal = self._format(result.dtype)
        noise = self.uniform(exact, u * exact.abs() + subnormal / 2)
        noise += self.uniform(exact, tolerances.ULPS * tolerances.U32 * exact.abs())
        if walk is not None:
            noise += self.uniform(exact, WIDEN / tolerances.LAMBDA * tolerances.accumulation(exact, walk, precision, k))
        result.copy_(exact + noise)

    def _format(self, dtype: torch.dtype) -> tuple[str, float, float]:
        """The precision that a result is accumulated and stored in, and of storing the unit roundoff and the smallest subnormal."""
        if dtype == torch.float64:
            return self._precision, unit_roundoff(self._precision), PRECISIONS[self._precision].smallest_subnormal
        own = next((name for name, p in PRECISIONS.items() if getattr(torch, p.torch_dtype) == dtype), self._precision)
        return own, unit_roundoff(own), PRECISIONS[own].smallest_subnormal

    def uniform(self, x: Tensor, size: Tensor) -> Tensor:
        """Within ±size: a function of the values and of the place, so that equal values are rounded alike."""
        return size * hashed(x.contiguous(), self._seed + GOLDEN * next(self._places))


class _Casts(TorchDispatchMode):
    """Notes whether an operator makes another floating dtype of fp64."""

    found = False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        results = func(*args, **(kwargs or {}))
        before = {t.dtype for t in tree_leaves((args, kwargs)) if floating(t)}
        after = {t.dtype for t in tree_leaves(results) if floating(t)}
        self.found |= torch.float64 in before and bool(after - {torch.float64})
        return results


def floating(value: Any) -> bool:
    """Whether a value is a tensor of floating-point numbers."""
    return isinstance(value, Tensor) and value.dtype.is_floating_point


def in_fp64(operands: tuple[Any, ...]) -> tuple[Any, ...]:
    """Copies of the operands, numbers in fp64."""
    return tree_map(lambda t: t.detach().double() if floating(t) else t.clone() if isinstance(t, Tensor) else t, operands)


def keeps_fp64(reference: Reference, operands: tuple[Any, ...]) -> bool:
    """Whether the reference takes fp64 operands, and computes in fp64 throughout."""
    try:
        with torch.no_grad(), _Casts() as casts:
            results = tree_leaves(reference(*in_fp64(operands)))
    except Exception:  # whatever a reference raises that is written for another dtype
        return False
    return not casts.found and all(t.dtype == torch.float64 for t in results if floating(t))


@contextmanager
def _plain() -> Iterator[None]:
    """No gradients; attention as the products and the softmax that it consists of, each with its roundings."""
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        yield


def evaluate(reference: Reference, operands: tuple[Any, ...], exactly: bool) -> tuple[Tensor, ...]:
    """The expected results, as fp64. exactly: in fp64; else in the reference's own dtypes."""
    own = in_fp64(operands) if exactly else tree_map(lambda t: t.clone() if isinstance(t, Tensor) else t, operands)
    with _plain():
        return _results(reference(*own))


def allowed(
    reference: Reference,
    operands: tuple[Any, ...],
    expected: tuple[Tensor, ...],
    precision: str,
    exactly: bool,
    outs: tuple[Tensor, ...],
) -> tuple[Tensor, ...]:
    """Largest absolute errors, fp64, of the shapes of `expected`. outs: the results' dtypes. Whole numbers have to be equal."""
    draws = (_draw(reference, operands, precision, exactly, draw) for draw in range(DRAWS))
    times = tolerances.LAMBDA * (1 if exactly else 2)
    found = deviations(draws, expected)
    return tuple(times * sigma + _stored(exact, out, precision) for sigma, exact, out in zip(found, expected, outs, strict=True))


def _stored(exact: Tensor, out: Tensor, precision: str) -> Tensor:
    """The rounding of the result itself, in the dtype that it is stored in."""
    if not out.dtype.is_floating_point:
        return torch.zeros_like(exact)
    if out.dtype == torch.float32:
        return tolerances.rounding(exact, "fp32")
    return tolerances.rounding(exact, precision, unit_roundoff(precision))


def _draw(reference: Reference, operands: tuple[Any, ...], precision: str, exactly: bool, seed: int) -> tuple[Tensor, ...]:
    noise = Noise(precision, seed)

    def read(t: Any) -> Any:
        if not floating(t):
            return t.clone() if isinstance(t, Tensor) else t
        exact = t.detach().double()
        exact = exact + noise.uniform(exact, tolerances.U32 * exact.abs())
        return exact if exactly else exact.to(t.dtype)

    own = tree_map(read, operands)
    with _plain(), noise:
        return _results(reference(*own))


def _results(value: Any) -> tuple[Tensor, ...]:
    return tuple(t.double() for t in (value if isinstance(value, tuple | list) else (value,)))
