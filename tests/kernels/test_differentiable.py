"""What cannot be differentiated, and what the two ops that differentiate say of it."""

from __future__ import annotations

import pytest

from kernels.op import Point
from kernels.registry import OPS
from kernels.support import Platform

BLOCK = {"batch": 2, "sequence": 5, "hidden": 12, "heads": 3, "feedforward": 7}


def points(impl: str, precision: str, which: str) -> list[Point]:
    return [
        OPS["gradient"].point(impl, precision, {"tokens": 3, "inputs": 5, "outputs": 7}, {"model": "matmul", "pass": which}),
        OPS["transformer"].point(impl, precision, BLOCK, {"scope": "block", "pass": which}),
    ]


@pytest.mark.parametrize(
    ("impl", "precision", "which", "why"),
    [
        ("torch", "fp8_e4m3", "both", "no derivative"),
        ("torch", "fp8_e5m2", "both", "no derivative"),
        ("torch", "tf32", "both", "TF32 is a mode"),
        ("torch_compile", "fp32", "backward", "cannot be repeated"),
        ("torch", "fp32", "both", "None"),
        ("torch", "fp32", "backward", "None"),
        ("torch_compile", "bf16", "both", "None"),
    ],
)
def test_what_is_unsupported(impl: str, precision: str, which: str, why: str) -> None:
    for made in points(impl, precision, which):
        assert why in str(OPS[made.op].impls[impl].unsupported(made, Platform("cpu")))
