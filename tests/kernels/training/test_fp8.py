"""fp8 linear layers against fp64 products of the operands as they were quantised."""

from __future__ import annotations

import pytest
import torch

from kernels import tolerances
from kernels.training.fp8 import GRADIENTS, VALUES, linear, quantise


def dequantised(x: torch.Tensor, precision: str) -> torch.Tensor:
    q, scale = quantise(x, precision)
    return q.double() * scale.double()


def close(found: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
    """found = a · b, rounded to bf16, accumulated as fp8 units do."""
    k = a.shape[-1]
    walk = a.norm(dim=-1, keepdim=True) * b.norm(dim=-2, keepdim=True) / k**0.5
    allowed = tolerances.contraction(a @ b, walk, "fp8_e4m3", k)
    assert ((found.double() - a @ b).abs() <= allowed).all()


@pytest.mark.parametrize(("tokens", "inputs", "outputs"), [(16, 16, 16), (48, 112, 80), (144, 16, 272)])
@pytest.mark.parametrize("size", [1e-6, 1.0, 3e4])
def test_products_are_those_of_the_quantised_operands(tokens: int, inputs: int, outputs: int, size: float) -> None:
    torch.manual_seed(1)
    x = (torch.randn(tokens, inputs) * size).to(torch.bfloat16).requires_grad_()
    weight = torch.randn(outputs, inputs).requires_grad_()
    y = linear(x, weight)
    g = torch.randn(tokens, outputs).to(torch.bfloat16)
    y.backward(g)
    x8, w8, g8 = dequantised(x.detach(), VALUES), dequantised(weight.detach(), VALUES), dequantised(g, GRADIENTS)
    close(y.detach(), x8, w8.t())
    close(x.grad, g8, w8)
    close(weight.grad, g8.t(), x8)
    assert (y.dtype, x.grad.dtype, weight.grad.dtype) == (torch.bfloat16, torch.bfloat16, torch.float32)


@pytest.mark.parametrize(("precision", "relative"), [(VALUES, 2**-4), (GRADIENTS, 2**-3)])
def test_quantising_uses_the_whole_range_and_rounds_once(precision: str, relative: float) -> None:
    """Half a spacing: 3 mantissa bits in E4M3, 2 in E5M2, of what lies above the subnormals."""
    x = torch.logspace(-2, 0, 1000) * torch.tensor([1.0, -1.0]).repeat(500) * 7
    q, scale = quantise(x, precision)
    assert q.float().abs().max() == (448 if precision == VALUES else 57344)
    assert ((q.float() * scale - x).abs() <= x.abs() * relative * (1 + 1e-6)).all()


def test_zeros_and_leading_dims() -> None:
    x = torch.zeros(2, 8, 16, dtype=torch.bfloat16, requires_grad=True)
    y = linear(x, torch.ones(32, 16))
    assert y.shape == (2, 8, 32)
    assert (y == 0).all()
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert (x.grad == 32).all()  # a sum over 32 outputs of ones, which fp8 holds exactly
