"""The formats, against what PyTorch says of them and the published tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kernels import precision_table
from kernels.__main__ import main
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


STORED = ["fp32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2"]


def cast(name: str, values: list[float]) -> list[float]:
    """PyTorch's cast from fp32, back in fp64."""
    return torch.tensor(values, dtype=torch.float32).to(getattr(torch, PRECISIONS[name].torch_dtype)).double().tolist()


@pytest.mark.slow
@pytest.mark.parametrize("name", STORED)
@given(value=st.floats(width=32, allow_nan=False))
def test_rounding_is_pytorchs_cast(name: str, value: float) -> None:
    assert PRECISIONS[name].rounded(value) == cast(name, [value])[0]


@pytest.mark.parametrize("name", STORED)
def test_around_every_power_of_two(name: str) -> None:
    """Ties, their neighbours, and both ends of the range."""
    p = PRECISIONS[name]
    powers = [2.0**e for e in range(-150, 128)]
    values = [
        float(np.float32(s * v * f)) for v in powers for s in (1, -1) for f in (1, 1 + p.spacing / 2, 1 + p.spacing * 0.49, 1.5, 1.75)
    ]
    assert [p.rounded(v) for v in values] == cast(name, values)


@pytest.mark.parametrize(
    ("name", "becomes"),
    [("fp32", 3.4028234663852886e38), ("fp16", math.inf), ("bf16", math.inf), ("fp8_e4m3", 448.0), ("fp8_e5m2", math.inf)],
)
def test_overflow(name: str, becomes: float) -> None:
    """fp32's largest number is too large for all others: infinity, but for E4M3, which has none."""
    largest = PRECISIONS["fp32"].max
    assert cast(name, [largest, -largest]) == [becomes, -becomes]
    assert PRECISIONS[name].rounded(largest) == becomes
    assert cast(name, [math.inf]) == [PRECISIONS[name].overflow]
    assert math.isnan(cast(name, [math.nan])[0])
    assert math.isnan(PRECISIONS[name].rounded(math.nan))


@pytest.mark.parametrize(("name", "becomes"), [("fp16", 0.0), ("bf16", 1.0011717677116394e-08), ("fp8_e4m3", 0.0), ("fp8_e5m2", 0.0)])
def test_a_gradient_of_1e_minus_8(name: str, becomes: float) -> None:
    assert cast(name, [1e-8]) == [becomes]
    assert PRECISIONS[name].rounded(1e-8) == becomes


def test_tf32_rounds_to_ten_bits_of_fp32s_range() -> None:
    p = PRECISIONS["tf32"]
    assert [p.rounded(v) for v in (1.0, 1 + 2.0**-10, 1 + 2.0**-11, 1 + 3 * 2.0**-11)] == [1.0, 1 + 2.0**-10, 1.0, 1 + 2.0**-9]
    assert p.rounded(1e-38) == pytest.approx(1e-38, rel=2.0**-11)


def test_the_table_at_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["precisions"]) == 0
    out = capsys.readouterr().out
    assert [heading for heading, _ in precision_table.conclusions() if f"\n{heading}. " in out] == ["Resolution", "Range", "Therefore"]
    lines = [line.split("│") for line in out.splitlines() if line.startswith("│")]
    assert [line[1].strip() for line in lines] == list(PRECISIONS)
    fp16 = [cell.strip() for cell in lines[2][1:-1]]
    assert fp16 == ["fp16", "2", "5", "10", "65504", "6.1035e-05", "5.9605e-08", "0.00097656", "±inf", "0", "inf"]


def test_why_bf16s_resolution_is_tolerable_and_fp16s_range_is_not() -> None:
    """The figures are PyTorch's casts of the same numbers."""
    text = dict(precision_table.conclusions())

    def cast(value: float, dtype: torch.dtype) -> float:
        return torch.tensor(value, dtype=torch.float64).to(dtype).item()

    small, scaled = cast(1e-8, torch.bfloat16), cast(8192 * 1e-8, torch.float16)
    assert cast(1e-8, torch.float16) == 0 != small
    assert f"A gradient of 1e-08 is stored as {small:.5g} in bf16, off by {abs(small / 1e-8 - 1):.2g} of its value" in text["Range"]
    assert "and as 0 in fp16, off by 1: the parameter gets no update" in text["Range"]
    assert f"1e+05 is {cast(1e5, torch.bfloat16):.5g} in bf16 and inf in fp16" in text["Range"]
    assert f"the same gradient is {scaled:.5g}, off by {abs(scaled / 8192e-8 - 1):.2g}" in text["Therefore"]
    assert f"1 + 0.001 is {cast(1.001, torch.bfloat16):.5g} in bf16" in text["Therefore"]
    for dtype in (torch.bfloat16, torch.float16):
        assert f"{torch.finfo(dtype).eps / 2:.2g}" in text["Resolution"]
