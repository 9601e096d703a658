"""What rounding does to a result of many steps, found by simulation in fp64: Monte Carlo arithmetic (Parker 1997).

A formula is written once over an `Arithmetic` and evaluated exactly, which is the reference, and a few times with noise in place of
every rounding that a right implementation makes: where it stores a tensor, and where it accumulates a product. The sizes of the
noise are those of kernels/tolerances.py, so nothing is fitted; gradients are rounded on their way back as values are on their way
there. With σ the deviation from the exact result, the tolerance is λ·σ and the rounding of the result itself.

    stored     uniform in ±(u·|x| + ½ smallest subnormal): the bound of one rounding, every place in it alike
               and in ±ULPS·2⁻²⁴·|x|, what computing it in fp32 errs by
    product    of the accumulator's deviation times R = ‖row‖·‖column‖/√K; tf32 operands are rounded before. The result is stored

Noise is a hash of the value and the draw: equal values are rounded alike, as they are in truth, and zeros stay what they are.

A few draws say little of one element, so σ² is taken as the product of what its row and its column have on average, each half way to
the average of all; or as its own, where that is more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch import Tensor

from kernels import tolerances
from kernels.precisions import PRECISIONS

DRAWS = 8
GOLDEN = 0x9E3779B97F4A7C15  # 2⁶⁴ over the golden ratio: SplitMix64's step
MIXING, LAST_SHIFT = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)), 31  # its shifts and factors
WIDEN = math.sqrt(3)  # half the width of a uniform distribution over its deviation


@dataclass(frozen=True)
class Arithmetic:
    """How a formula is evaluated on fp64 tensors, forwards and backwards. `multiply`: (…, m, k) @ (…, k, n), equal leading dims."""

    multiply: Callable[[Tensor, Tensor], Tensor]
    stored: Callable[[Tensor], Tensor]  # a value that is kept in the precision
    computed: Callable[[Tensor], Tensor]  # a value that stays in fp32
    attend: Callable[[Tensor, Tensor, bool], Tensor]  # softmax of (…, m, k) · (…, k, n); whether in one kernel
    gather: Callable[[Tensor, Tensor], Tensor]  # rows of a table (V, H) by their indices


EXACT = Arithmetic(
    multiply=torch.matmul,
    stored=lambda x: x,
    computed=lambda x: x,
    attend=lambda scores, v, fused: scores.softmax(-1) @ v,
    gather=lambda table, index: table[index],
)


class _Noisy(torch.autograd.Function):
    """x + noise(x), and g + noise(g) on the way back."""

    @staticmethod
    def forward(ctx, x, noise):  # type: ignore[no-untyped-def]
        ctx.noise = noise
        return x + noise(x)

    @staticmethod
    def backward(ctx, g):  # type: ignore[no-untyped-def]
        return g + ctx.noise(g), None


class _Product(torch.autograd.Function):
    """multiply(a, b); the result's gradient is stored, and both operands' are products of the same kind."""

    @staticmethod
    def forward(ctx, a, b, multiply, rounding):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(a, b)
        ctx.multiply, ctx.rounding = multiply, rounding
        return multiply(a, b)

    @staticmethod
    def backward(ctx, g):  # type: ignore[no-untyped-def]
        a, b = ctx.saved_tensors
        g = g + ctx.rounding(g)
        return ctx.multiply(g, b.mT), ctx.multiply(a.mT, g), None, None


class _Attend(torch.autograd.Function):
    """softmax(scores)·v. Gradients are computed from what was stored, and its roundings do not cancel: the scores' gradient is
    p·(dp − D), with D the sum of p·dp over a row, or, in a fused kernel, what that equals without rounding, of result·gradient."""

    @staticmethod
    def forward(ctx, scores, v, fused, multiply, storing, computing):  # type: ignore[no-untyped-def]
        p = scores.softmax(-1)
        p = p + storing(p)
        result = multiply(p, v)
        ctx.save_for_backward(p, v, result)
        ctx.fused, ctx.multiply, ctx.storing, ctx.computing = fused, multiply, storing, computing
        return result

    @staticmethod
    def backward(ctx, g):  # type: ignore[no-untyped-def]
        p, v, result = ctx.saved_tensors
        g = g + ctx.storing(g)
        dp = ctx.multiply(g, v.mT)
        terms = g * result if ctx.fused else p * dp
        d = terms.sum(-1, keepdim=True) + ctx.computing(terms.norm(dim=-1, keepdim=True))
        return p * (dp - d), ctx.multiply(p.mT, g), None, None, None, None


class _Gather(torch.autograd.Function):
    """table[index]; gradients of a row that is picked K times are added one after the other, each sum rounded."""

    @staticmethod
    def forward(ctx, table, index, roughly):  # type: ignore[no-untyped-def]
        ctx.index, ctx.rows, ctx.roughly = index.flatten(), table.shape[0], roughly
        return table[index]

    @staticmethod
    def backward(ctx, g):  # type: ignore[no-untyped-def]
        flat = g.flatten(0, -2)
        total, squares = (g.new_zeros(ctx.rows, g.shape[-1]).index_add_(0, ctx.index, t) for t in (flat, flat**2))
        times = torch.bincount(ctx.index, minlength=ctx.rows)[:, None]
        # After i of K terms a sum has about the size √(i/K · squares + (i/K · total)²), and is rounded; a term is at least once.
        steps = times / 3 * (squares / 2 + total**2 / 3)
        return total + ctx.roughly(total, torch.maximum(steps, squares).sqrt()), None, None


def unit_roundoff(precision: str) -> float:
    """Of a result as it is stored: TF32's is fp32."""
    return tolerances.U32 if precision == "tf32" else PRECISIONS[precision].unit_roundoff


def hashed(x: Tensor, seed: int) -> Tensor:
    """A number in −1 … 1 for each element of fp64, a function of its bits and the seed; 0 for 0. Steele et al. 2014, SplitMix64.

    On a CPU by NumPy, which needs less than half of PyTorch's time for it; most of a simulation is spent here."""
    return hashed_by_numpy(x, seed) if x.device.type == "cpu" else hashed_by_torch(x, seed)


def hashed_by_numpy(x: Tensor, seed: int) -> Tensor:
    numbers = np.atleast_1d(x.detach().numpy())
    z = numbers.view(np.uint64) + np.uint64(seed % 2**64)
    right = np.empty_like(z)
    for shift, factor in MIXING:
        z ^= np.right_shift(z, np.uint64(shift), out=right)
        z *= np.uint64(factor)
    z ^= np.right_shift(z, np.uint64(LAST_SHIFT), out=right)
    noise = z.view(np.int64) * 2.0**-63
    noise *= numbers != 0
    return torch.from_numpy(noise).view(x.shape)


def hashed_by_torch(x: Tensor, seed: int) -> Tensor:
    z = x.view(torch.int64) + signed(seed)
    for shift, factor in MIXING:
        z ^= shifted(z, shift)
        z *= signed(factor)
    z ^= shifted(z, LAST_SHIFT)
    return z.double().mul_(2.0**-63).masked_fill_(x == 0, 0.0)


def shifted(z: Tensor, bits: int) -> Tensor:
    """A logical shift to the right: zeros come in, where int64's own shift repeats the sign."""
    return (z >> bits).bitwise_and_(2 ** (64 - bits) - 1)


def signed(word: int) -> int:
    """The low 64 bits as two's complement."""
    return (word + 2**63) % 2**64 - 2**63


def rounded(precision: str, seed: int) -> Arithmetic:
    """Arithmetic with the roundings of `precision` drawn from `seed`."""
    p = PRECISIONS[precision]
    u = unit_roundoff(precision)
    places = count()

    def uniform(x: Tensor, size: Tensor) -> Tensor:
        """Within ±size, different each time it is asked."""
        return size * hashed(x, seed + GOLDEN * next(places))

    def rounding(x: Tensor) -> Tensor:
        return uniform(x, u * x.abs() + p.smallest_subnormal / 2)

    def computing(x: Tensor) -> Tensor:
        return uniform(x, tolerances.ULPS * tolerances.U32 * x.abs())

    def multiply(a: Tensor, b: Tensor) -> Tensor:
        k = a.shape[-1]
        if precision == "tf32":
            a, b = (t + uniform(t, tolerances.TF32_TRUNCATION * t.abs()) for t in (a, b))
        walk = a.norm(dim=-1, keepdim=True) * b.norm(dim=-2, keepdim=True) / math.sqrt(k)
        c = a @ b
        c = c + uniform(c, WIDEN / tolerances.LAMBDA * tolerances.accumulation(c, walk, precision, k))
        return c + rounding(c)

    def storing(x: Tensor) -> Tensor:
        return rounding(x) + computing(x)

    return Arithmetic(
        multiply=lambda a, b: _Product.apply(a, b, multiply, rounding),
        stored=lambda x: _Noisy.apply(x, storing),
        computed=lambda x: _Noisy.apply(x, computing),
        attend=lambda scores, v, fused: _Attend.apply(scores, v, fused, multiply, storing, computing),
        gather=lambda table, index: _Gather.apply(table, index, lambda total, size: uniform(total, WIDEN * u * size)),
    )


def allowed(evaluate: Callable[[Arithmetic], tuple[Tensor, ...]], expected: tuple[Tensor, ...], precision: str) -> tuple[Tensor, ...]:
    """Largest absolute errors, fp64, of the shapes of `expected`, the exact results. `evaluate` gives the results in an arithmetic."""
    found = deviations((evaluate(rounded(precision, draw)) for draw in range(DRAWS)), expected)
    roundings = [tolerances.rounding(exact, precision, unit_roundoff(precision)) for exact in expected]
    return tuple(one + tolerances.LAMBDA * sigma for one, sigma in zip(roundings, found, strict=True))


def deviations(draws: Iterable[tuple[Tensor, ...]], expected: tuple[Tensor, ...]) -> list[Tensor]:
    """σ of each element of each result, from DRAWS noisy evaluations."""
    squares = [torch.zeros_like(t) for t in expected]
    for draw in draws:
        for square, noisy, exact in zip(squares, draw, expected, strict=True):
            square.add_((noisy - exact) ** 2, alpha=1 / DRAWS)
    return [torch.maximum(square, pooled(square)).sqrt() for square in squares]


def pooled(squares: Tensor) -> Tensor:
    """Mean squares of (…, n), as a matrix, by their rows' and columns' means; of a vector or a number, their mean. Rows of 0 stay 0."""
    if squares.dim() < 2:
        return squares.mean().expand_as(squares)
    matrix = squares.reshape(-1, squares.shape[-1])
    rows = matrix.mean(1, keepdim=True)
    noisy = rows > 0
    columns = matrix.sum(0) / noisy.sum().clamp(min=1)
    mean = columns.mean().clamp(min=torch.finfo(torch.float64).tiny)
    return torch.where(noisy, (rows + mean) / 2 * (columns + mean) / 2 / mean, 0.0).reshape(squares.shape)
