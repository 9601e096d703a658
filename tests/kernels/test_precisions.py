"""The formats, against what PyTorch says of them and the published tables."""

from __future__ import annotations

import pytest
import torch

from kernels.precisions import PRECISIONS


@pytest.mark.parametrize("name", ["fp32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2"])
def test_against_torch(name: str) -> None:
    p = PRECISIONS[name]
    info = torch.finfo(getattr(torch, p.torch_dtype))
    assert (p.bytes * 8, p.max, p.smallest_normal, p.spacing) == (info.bits, info.max, info.smallest_normal, info.eps)
    smallest = (
        torch.tensor([p.smallest_subnormal, p.smallest_subnormal * 0.49], dtype=torch.float64).to(getattr(torch, p.torch_dtype)).double()
    )
    assert smallest.tolist() == [p.smallest_subnormal, 0.0]


@pytest.mark.parametrize(
    ("name", "largest", "spacing"),
    [
        ("fp32", 3.4028234663852886e38, 2.0**-23),
        ("tf32", 3.4011621342146535e38, 2.0**-10),
        ("fp16", 65504.0, 0.0009765625),
        ("bf16", 3.3895313892515355e38, 0.0078125),
        ("fp8_e4m3", 448.0, 0.125),
        ("fp8_e5m2", 57344.0, 0.25),
    ],
)
def test_published_values(name: str, largest: float, spacing: float) -> None:
    assert PRECISIONS[name].max == largest
    assert PRECISIONS[name].spacing == spacing
    assert PRECISIONS[name].unit_roundoff == spacing / 2
