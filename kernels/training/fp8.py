"""Linear layers whose three products are fp8: y = x·Wᵀ in E4M3, and dx = g·W and dW = gᵀ·x with the gradient g in E5M2.

Each operand has one fp32 scale, the largest magnitude over the format's largest number, taken anew in every call ("current scaling" of
NVIDIA's Transformer Engine; Micikevicius et al. 2022, "FP8 Formats for Deep Learning", for the two formats). Products are accumulated in
fp32, with Hopper's fast accumulation in the forward pass only, and written in bf16. Weights stay in their own precision outside.
"""

from __future__ import annotations

from typing import Any

import torch

from kernels.precisions import PRECISIONS
from kernels.tensors import dtype_of

VALUES, GRADIENTS = "fp8_e4m3", "fp8_e5m2"
MULTIPLE = 16  # of tokens, inputs and outputs: torch._scaled_mm asks it of the dims that its operands lie along
TINY = torch.finfo(torch.float32).tiny  # of a scale: a tensor of zeros has none


def quantise(x: torch.Tensor, precision: str) -> tuple[torch.Tensor, torch.Tensor]:
    """x / scale in fp8, and the scale, () fp32."""
    largest = PRECISIONS[precision].max
    scale = (x.abs().amax().float() / largest).clamp(min=TINY)
    return (x.float() / scale).clamp_(-largest, largest).to(dtype_of(precision)), scale


def product(a: torch.Tensor, b: torch.Tensor, scale_a: torch.Tensor, scale_b: torch.Tensor, fast: bool) -> torch.Tensor:
    """(m, k) · (n, k)ᵀ in bf16, both row-major as torch._scaled_mm wants them."""
    return torch._scaled_mm(a, b.t(), scale_a=scale_a, scale_b=scale_b, out_dtype=torch.bfloat16, use_fast_accum=fast)


class _Linear(torch.autograd.Function):
    """What backward needs is kept in fp8, a byte an element."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        rows, scale_x = quantise(x.reshape(-1, x.shape[-1]), VALUES)
        matrix, scale_w = quantise(weight, VALUES)
        ctx.save_for_backward(rows, matrix, scale_x, scale_w)
        ctx.dtypes = x.dtype, weight.dtype
        return product(rows, matrix, scale_x, scale_w, fast=True).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        rows, matrix, scale_x, scale_w = ctx.saved_tensors
        (g,) = outputs
        gradient, scale_g = quantise(g.reshape(-1, g.shape[-1]), GRADIENTS)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = product(gradient, matrix.t().contiguous(), scale_g, scale_w, fast=False).view(*g.shape[:-1], -1).to(ctx.dtypes[0])
        dw = product(gradient.t().contiguous(), rows.t().contiguous(), scale_g, scale_x, fast=False)
        return dx, dw.to(ctx.dtypes[1])


def linear(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """x (…, k) · weight (n, k)ᵀ -> (…, n) in bf16. The product of the leading dims, k and n must be multiples of MULTIPLE."""
    return _Linear.apply(x, weight)
