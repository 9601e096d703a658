"""Where a point runs, and what such a platform supports whatever the op. Each rule is written once. No torch: plans import this too.

A rule returns why a point cannot run, or None. Compute capabilities: CUDA programming guide, table of features by capability.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kernels.precisions import PRECISIONS

DeviceKind = Literal["cuda", "cpu"]  # PyTorch's kernels differ, and with them what they keep and hold; a simulated GPU is "cuda"

TF32_FROM = (8, 0)  # compute capability of the first tensor cores with TF32, and with bf16
FP8_FROM = (8, 9)  # of the first fp8 conversions and fp8 tensor cores
NO_FP8_ARITHMETIC = "PyTorch has no fp8 arithmetic"


@dataclass(frozen=True)
class Platform:
    """Where a point is to run: what `Impl.unsupported` may ask."""

    kind: DeviceKind
    capability: tuple[int, int] = (0, 0)  # compute capability, (9, 0) for an H100; (0, 0) on a CPU
    interpreted: bool = False  # Triton runs in its interpreter, at a reduced shape
    no_compiler: str | None = None  # why nothing that torch.compile or Triton generates can be built here


def is_fp8(precision: str) -> bool:
    """Whether an element takes one byte."""
    return PRECISIONS[precision].bytes == 1


def triton_needs(platform: Platform) -> str | None:
    """Why Triton cannot run, or None: it needs a GPU or its interpreter."""
    return None if platform.kind == "cuda" or platform.interpreted else "Triton needs a GPU or its interpreter"


def matrix_units(precision: str, platform: Platform) -> str | None:
    """Why a platform cannot multiply in a precision, or None. A CPU multiplies fp8, converted, but has no TF32."""
    if is_fp8(precision) and platform.kind == "cuda" and platform.capability < FP8_FROM:
        return "fp8 matrix units need compute capability 8.9 or later"
    if precision == "tf32" and (platform.kind != "cuda" or platform.capability < TF32_FROM):
        return "TF32 is a mode of NVIDIA's tensor cores from compute capability 8.0 on"
    return None


def matrix_units_or_interpreter(precision: str, platform: Platform) -> str | None:
    """The same for kernels that Triton's interpreter may run: it supports every precision."""
    return None if platform.interpreted else matrix_units(precision, platform)


def fp8_conversions(precisions: set[str], platform: Platform) -> str | None:
    """Why a platform cannot read or write these precisions, or None."""
    if any(map(is_fp8, precisions)) and platform.kind == "cuda" and platform.capability < FP8_FROM:
        return "fp8 conversions need compute capability 8.9 or later"
    return None


def no_products(precision: str, instead: str) -> str | None:
    """Why an op without matrix products has no TF32, or None. instead: what it does with fp32 elements."""
    return f"TF32 is a way to multiply matrices: {instead}" if precision == "tf32" else None
