"""How far a right training step may lie from the fp64 one: Monte Carlo arithmetic over the whole of forward and backward.

The step is computed in fp64, once exactly and SAMPLES times with the rounding of the tested precision put in: every arithmetic operation's
result y becomes y + h·ξ with ξ uniform in ±1 and h half a spacing of the format that it is written in, and products also take what
rounding their operands and accumulating does to them, by the terms of kernels/tolerances.py. The root mean square of what that changes
is the standard deviation of a right result's error, with the conditioning of this very model and batch in it; LAMBDA of them are allowed.

Source: Parker, Pierce, Eggert 2000, "Monte Carlo arithmetic: how to gamble with floating point and win". ξ is a hash of y, so that equal
values are rounded alike, and deviations are pooled over rows and columns, both as in kernels/rounding.py, which does the same for formulas
written out; here it is the module itself that runs. Rounding of tf32 operands is truncation, so ξ is in (−1, 0) there and the deviation
holds the bias.

Under autocast reductions, norms, softmax and the loss are fp32 and the rest is taken to be in 16 bits; residual sums are really fp32, so
the estimate is a little wide. In fp8 all weight products are taken to be fp8, the head too, which is bf16.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import count
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from kernels.precisions import PRECISIONS
from kernels.rounding import GOLDEN, WIDEN, hashed, pooled
from kernels.tolerances import LAMBDA, TF32_TRUNCATION, U32, ULPS, accumulation
from kernels.training.recipe import AUTOCAST, LOSS_SCALE

SAMPLES = 8
aten = torch.ops.aten

Tensors = tuple[torch.Tensor, ...]

WEIGHT_PRODUCTS = {aten.mm.default, aten.addmm.default}
PRODUCTS = WEIGHT_PRODUCTS | {aten.bmm.default}
EXACT = {  # what moves or chooses numbers, or makes them of none; and rope's angles, which are fp64 in every precision
    "_to_copy", "_unsafe_view", "addr", "arange", "cat", "clone", "constant_pad_nd", "embedding", "empty_like", "full", "full_like",
    "gather", "index", "index_select", "lift_fresh_copy", "logspace", "masked_fill", "neg", "new_zeros", "ones_like", "scatter",
    "select_backward", "slice_backward", "stack", "tril", "triu", "where", "zeros", "zeros_like",
}  # fmt: skip
IN_FP32 = {  # under autocast
    "_fused_rms_norm", "_fused_rms_norm_backward", "_log_softmax", "_log_softmax_backward_data", "_softmax", "_softmax_backward_data",
    "embedding_dense_backward", "exp", "mean", "mse_loss", "mse_loss_backward", "nll_loss_backward", "nll_loss_forward", "pow", "rsqrt",
    "sum",
}  # fmt: skip


class Rounding(TorchDispatchMode):
    """Puts the rounding of one training precision into fp64 operations. `backward` is set where the backward pass begins."""

    def __init__(self, precision: str, seed: int):
        super().__init__()
        self._precision, self._seed, self._places = precision, seed, count()
        half = {"float16": "fp16", "bfloat16": "bf16"}.get(AUTOCAST.get(precision, ""))
        self._format = PRECISIONS[half] if half else PRECISIONS["fp32"]
        self.backward = False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        if func in PRODUCTS:
            return self._product(func, args)
        result = func(*args, **(kwargs or {}))
        writes = [r.alias_info.is_write for r in func._schema.returns if r.alias_info]
        name = func._schema.name.removeprefix("aten::")
        if name.rstrip("_") in EXACT or (writes and not all(writes)) or (writes and name in ("copy_", "fill_", "zero_", "detach_")):
            return result
        if writes:
            return result.copy_(self._rounded(result, name.rstrip("_")))
        return _each(result, lambda tensor: self._rounded(tensor, name))

    def _noise(self, value: torch.Tensor) -> torch.Tensor:
        """ξ, another one in each place that it is asked for."""
        return hashed(value.contiguous(), self._seed + GOLDEN * next(self._places))

    def _rounded(self, y: torch.Tensor, name: str) -> torch.Tensor:
        """A result as it is written: once in 16 bits, or in fp32 by a few operations."""
        if name in IN_FP32 or self._format.name == "fp32":
            return self._moved(y, ULPS * U32)
        return self._moved(y, self._format.unit_roundoff, self._underflow())

    def _moved(self, y: torch.Tensor, u: float, absolute: torch.Tensor | float = 0.0) -> torch.Tensor:
        """y + (half a spacing + absolute) · ξ, half a spacing being u · 2^⌊log₂|y|⌋; a mask's infinities stay."""
        binade = torch.exp2(torch.frexp(y).exponent.double() - 1)
        return torch.where(y.isinf(), y, y + (u * binade * (y != 0) + absolute) * self._noise(y))

    def _underflow(self) -> float:
        """Half the smallest subnormal; gradients of fp16 are stored LOSS_SCALE times as large."""
        half = self._format.smallest_subnormal / 2
        return half / LOSS_SCALE if self.backward and self._precision == "fp16" else half

    def _product(self, func: Any, args: tuple[Any, ...]) -> torch.Tensor:
        a, b = args[-2:]
        fp8 = func in WEIGHT_PRODUCTS and PRECISIONS[self._precision].bytes == 1
        a, b = (self._operand(x, fp8) for x in (a, b))
        result = func(*args[:-2], a, b)
        k = a.shape[-1]
        walk = a.norm(dim=-1, keepdim=True) * b.norm(dim=-2, keepdim=True) / k**0.5
        units = self._precision if fp8 or self._precision == "tf32" else self._format.name
        result += WIDEN / LAMBDA * accumulation(result, walk, units, k) * self._noise(result)
        return self._moved(result, self._format.unit_roundoff, self._underflow())

    def _operand(self, x: torch.Tensor, fp8: bool) -> torch.Tensor:
        """An operand as the units multiply it."""
        if fp8:
            values, gradients = PRECISIONS["fp8_e4m3"], PRECISIONS["fp8_e5m2"]
            # In backward one operand or the other is a gradient: each gets the mean square of both formats.
            both = math.hypot(values.unit_roundoff, gradients.unit_roundoff) / math.sqrt(2)
            scale = x.abs().amax() / values.max
            return self._moved(x, both if self.backward else values.unit_roundoff, values.smallest_subnormal / 2 * scale)
        if self._precision == "tf32":
            return x + TF32_TRUNCATION * x.abs() * (self._noise(x) - 1) / 2
        return x if self._format.name == "fp32" else self._moved(x, self._format.unit_roundoff)


def _each(result: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The floating tensors of a result changed, the rest as it is."""
    if isinstance(result, torch.Tensor):
        return change(result) if result.is_floating_point() else result
    return tuple(_each(r, change) for r in result) if isinstance(result, tuple | list) else result


Pass = Callable[[], torch.Tensor]


def gradients(forward: Pass, leaves: Tensors, rounding: Rounding | None = None) -> Tensors:
    """The loss that `forward` computes from fp64 leaves, and its gradients."""
    if rounding is None:
        loss = forward()
        return (loss.detach(), *torch.autograd.grad(loss, leaves))
    with rounding:
        loss = forward()
        rounding.backward = True
        return (loss.detach(), *torch.autograd.grad(loss, leaves))


def allowed(exact: Tensors, forward: Pass, leaves: Tensors, precision: str) -> Tensors:
    """Allowed absolute errors of loss and gradients, shaped as `exact`, which is what `gradients` found without rounding."""
    squares = tuple(torch.zeros_like(x) for x in exact)
    for seed in range(SAMPLES):
        found = gradients(forward, leaves, Rounding(precision, seed))
        for total, x, y in zip(squares, found, exact, strict=True):
            total.add_((x - y) ** 2, alpha=1 / SAMPLES)
    return tuple(LAMBDA * torch.maximum(square, pooled(square)).sqrt() for square in squares)
