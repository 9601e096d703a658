"""What rounding does to a result of many steps, found by simulation in fp64: Monte Carlo arithmetic (Parker 1997).

A formula is written once over an `Arithmetic` and evaluated exactly, which is the reference, and a few times with noise in place of
every rounding that a right implementation makes: where it stores a tensor, and where it accumulates a product. The sizes of the
noise are those of kernels/tolerances.py, so nothing is fitted; gradients are rounded on their way back as values are on their way
there. With σ the deviation from the exact result, the tolerance is λ·σ and the rounding of the result itself.

    stored     uniform in ±(u·|x| + ½ smallest subnormal): the bound of one rounding, every place in it alike
               and ±ULPS·2⁻²⁴·|x|, what computing it in fp32 errs by
    product    normal, of the accumulator's σ·R with R = ‖row‖·‖column‖/√K; tf32 operands are rounded before. The result is stored

σ² is taken as a product of what its row and its column have on average over the draws, since a few draws say little of one element;
or as the element's own average, where that is more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kernels import tolerances
from kernels.precisions import PRECISIONS

DRAWS = 8
SEED = 20260101


@dataclass(frozen=True)
class Arithmetic:
    """How a formula is evaluated on fp64 tensors, forwards and backwards. `multiply`: (…, m, k) @ (…, k, n), equal leading dims."""

    multiply: Callable[[Tensor, Tensor], Tensor]
    stored: Callable[[Tensor], Tensor]  # a value that is kept in the precision
    computed: Callable[[Tensor], Tensor]  # a value that stays in fp32
    softmax: Callable[[Tensor], Tensor]  # over the last dim
    gather: Callable[[Tensor, Tensor], Tensor]  # rows of a table (V, H) by their indices


EXACT = Arithmetic(torch.matmul, lambda x: x, lambda x: x, lambda x: x.softmax(-1), lambda table, index: table[index])


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


class _Softmax(torch.autograd.Function):
    """softmax(x), stored. Its gradient is computed from what was stored: rounded probabilities do not add up to 1."""

    @staticmethod
    def forward(ctx, x, noise):  # type: ignore[no-untyped-def]
        p = x.softmax(-1)
        p = p + noise(p)
        ctx.save_for_backward(p)
        ctx.noise = noise
        return p

    @staticmethod
    def backward(ctx, g):  # type: ignore[no-untyped-def]
        (p,) = ctx.saved_tensors
        g = g + ctx.noise(g)
        return p * (g - (p * g).sum(-1, keepdim=True)), None


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
        return total + ctx.roughly(squares.sqrt() * (times / 6).sqrt().clamp(min=1)), None, None


def rounded(precision: str, seed: int, device: torch.device) -> Arithmetic:
    """Arithmetic with the roundings of `precision` drawn from `seed`."""
    p = PRECISIONS[precision]
    u = tolerances.U32 if precision == "tf32" else p.unit_roundoff
    generator = torch.Generator(device).manual_seed(seed)

    def uniform(size: Tensor) -> Tensor:
        return size * (2 * torch.rand(size.shape, generator=generator, device=device, dtype=torch.float64) - 1)

    def normal(size: Tensor) -> Tensor:
        return size * torch.randn(size.shape, generator=generator, device=device, dtype=torch.float64)

    def rounding(x: Tensor) -> Tensor:
        return uniform(u * x.abs() + p.smallest_subnormal / 2)

    def computing(x: Tensor) -> Tensor:
        return uniform(tolerances.ULPS * tolerances.U32 * x.abs())

    def multiply(a: Tensor, b: Tensor) -> Tensor:
        k = a.shape[-1]
        if precision == "tf32":
            a, b = (t + uniform(tolerances.TF32_TRUNCATION * t.abs()) for t in (a, b))
        walk = a.norm(dim=-1, keepdim=True) * b.norm(dim=-2, keepdim=True) / math.sqrt(k)
        c = a @ b
        c = c + normal(tolerances.accumulation_factor(precision, k) / tolerances.LAMBDA * walk.expand_as(c))
        return c + rounding(c)

    def storing(x: Tensor) -> Tensor:
        return rounding(x) + computing(x)

    return Arithmetic(
        multiply=lambda a, b: _Product.apply(a, b, multiply, rounding),
        stored=lambda x: _Noisy.apply(x, storing),
        computed=lambda x: _Noisy.apply(x, computing),
        softmax=lambda x: _Softmax.apply(x, storing),
        gather=lambda table, index: _Gather.apply(table, index, lambda walk: normal(u * walk)),
    )


def allowed(evaluate: Callable[[Arithmetic], tuple[Tensor, ...]], expected: tuple[Tensor, ...], precision: str) -> tuple[Tensor, ...]:
    """Largest absolute errors, fp64, of the shapes of `expected`, the exact results. `evaluate` gives the results in an arithmetic."""
    squares = [torch.zeros_like(t) for t in expected]
    for draw in range(DRAWS):
        for total, noisy, exact in zip(squares, evaluate(rounded(precision, SEED + draw, expected[0].device)), expected, strict=True):
            total += (noisy - exact) ** 2 / DRAWS
    return tuple(
        tolerances.rounding(exact, precision, tolerances.U32 if precision == "tf32" else None) + tolerances.LAMBDA * torch.maximum(s, separable(s)).sqrt()
        for exact, s in zip(expected, squares, strict=True)
    )


def separable(squares: Tensor) -> Tensor:
    """Row mean · column mean / mean of (…, n) as a matrix; the mean alone of a vector or a number. Where a row is 0 it stays 0."""
    if squares.dim() < 2:
        return squares.mean().expand_as(squares)
    matrix = squares.reshape(-1, squares.shape[-1])
    product = matrix.mean(1, keepdim=True) * matrix.mean(0) / matrix.mean().clamp(min=torch.finfo(torch.float64).tiny)
    return product.reshape(squares.shape)
