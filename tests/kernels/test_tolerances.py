"""Tolerances against roundings made one by one: the worst of many elements lies within, and uses a fair part of what is allowed."""

from __future__ import annotations

import math

import pytest
import torch

from kernels import tolerances


def fused_multiply_adds(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Σ a·b over the last dim as a GPU's FFMA adds it, one product after the other, each sum rounded to fp32 once (fp64 holds a
    product of two fp32 numbers exactly)."""
    total = torch.zeros(a.shape[:-1])
    for i in range(a.shape[-1]):
        total = (total.double() + a[..., i].double() * b[..., i].double()).float()
    return total


@pytest.mark.parametrize("k", [1, 17, 128, 509])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_sums_in_fp32_lie_within_wherever_they_end(k: int, share: float) -> None:
    """share: how far b is a copy of a, so that the sum ends far from zero, as 7 of 8 million elements did on an H100 (3.3 R, k = 128)."""
    seeded = torch.Generator().manual_seed(k)
    a, noise = (torch.randn(200_000 // k + 100, k, generator=seeded) for _ in range(2))
    b = share * a + (1 - share) * noise
    exact = (a.double() * b.double()).sum(-1)
    walk = a.double().norm(dim=-1) * b.double().norm(dim=-1) / math.sqrt(k)
    over = (fused_multiply_adds(a, b) - exact).abs() / tolerances.contraction(exact, walk, "fp32", k)
    assert 0.1 < float(over.max()) < 1
