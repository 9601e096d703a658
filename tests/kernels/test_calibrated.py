"""The calibrated forms: the norm, and what they say of shapes at the ends of what sweeps hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.calibrated import norm
from kernels.cost_model import predict
from kernels.gpus import load_gpu
from kernels.registry import OPS


def roofline_and_predicted(size: tuple[int, int, int], precision: str, gpu: str) -> tuple[float, float]:
    point = OPS["matmul"].point("torch", precision, dict(zip("mnk", size, strict=True)))
    found = predict([point], load_gpu(gpu))
    return float(found.roofline_s[0]), float(found.predicted_s[0])


@pytest.mark.slow
@pytest.mark.parametrize("p", [1.0, 1.5, 2.7, 20.0])
@given(a=st.floats(1e-9, 1e3), b=st.floats(1e-9, 1e3))
def test_the_norm_lies_between_the_larger_and_the_sum(p: float, a: float, b: float) -> None:
    found = float(norm(np.array([a]), np.array([b]), p)[0])
    assert max(a, b) * (1 - 1e-12) <= found <= (a + b) * (1 + 1e-12)
    if p == 1.0:
        assert found == pytest.approx(a + b)


# The share of the roofline's speed stays one that a library could reach.
@pytest.mark.slow
@pytest.mark.parametrize("gpu", ["h100_sxm5", "h200_sxm", "a100_sxm4_80gb"])
@pytest.mark.parametrize("precision", ["bf16", "fp16", "tf32", "fp32"])
@pytest.mark.parametrize(
    ("size", "least"),
    [
        ((16384, 16384, 16384), 0.65),
        ((1, 8192, 8192), 0.5),
        ((16, 14336, 4096), 0.35),
        ((8192, 64, 65536), 0.35),
        ((65536, 8192, 32), 0.35),
    ],
)
def test_large_work_reaches_a_sane_share_of_the_roofline(gpu: str, precision: str, size: tuple[int, int, int], least: float) -> None:
    roofline, predicted = roofline_and_predicted(size, precision, gpu)
    assert least <= roofline / predicted <= 1


@pytest.mark.parametrize("precision", ["bf16", "fp32", "fp8_e4m3"])
@pytest.mark.parametrize("size", [(1, 1, 1), (1, 16, 16), (64, 64, 64), (1, 4096, 1), (128, 128, 1)])
def test_tiny_work_is_a_launch_and_a_prologue(precision: str, size: tuple[int, int, int]) -> None:
    assert 1.9e-6 <= roofline_and_predicted(size, precision, "h100_sxm5")[1] <= 15e-6
