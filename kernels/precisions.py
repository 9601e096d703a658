"""The number formats a sweep can name, and what follows from their bits. No torch here: reports read this too."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Precision:
    """One number format.

    Sources: IEEE 754-2019 (fp32, fp16); Micikevicius et al. 2022, "FP8 Formats for Deep Learning" (E4M3, E5M2); NVIDIA A100
    whitepaper (TF32: fp32 storage, 10 mantissa bits multiplied); the bfloat16 definition (fp32's exponent, 7 mantissa bits).
    """

    name: str
    bytes: int  # what one element takes in memory
    exponent_bits: int
    mantissa_bits: int  # explicit ones, of the operand as it is multiplied
    torch_dtype: str  # attribute of `torch`
    triton_dtype: str  # Triton's name of the pointee, as in a signature "*bf16"
    matmul_rhs: str  # precision of a matmul's second operand
    matmul_out: str  # precision a matmul writes
    finite_only: bool = False  # E4M3 spends the all-ones exponent on numbers and keeps only a NaN

    @property
    def bias(self) -> int:
        return 2 ** (self.exponent_bits - 1) - 1

    @property
    def max(self) -> float:
        """Largest finite value."""
        if self.finite_only:  # top exponent in use, all-ones mantissa there is the NaN
            return (2 - 2 * 2.0**-self.mantissa_bits) * 2.0 ** (self.bias + 1)
        return (2 - 2.0**-self.mantissa_bits) * 2.0**self.bias

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.bias)

    @property
    def smallest_subnormal(self) -> float:
        return self.smallest_normal * 2.0**-self.mantissa_bits

    @property
    def spacing(self) -> float:
        """Distance from 1.0 to the next larger number (machine epsilon)."""
        return 2.0**-self.mantissa_bits

    @property
    def unit_roundoff(self) -> float:
        """Largest relative error of rounding to nearest."""
        return self.spacing / 2

    @property
    def overflow(self) -> float:
        """What a cast makes of a number too large: infinity, and in E4M3, which has none, the largest number.

        So PyTorch 2.13 casts (c10's Float8_e4m3fn.h; earlier releases gave NaN), and so does the GPU's cvt.satfinite (PTX ISA).
        """
        return self.max if self.finite_only else math.inf

    def rounded(self, value: float) -> float:
        """The nearest number of the format, of two the one with an even mantissa, as a cast gives it (IEEE 754-2019, §4.3.1)."""
        if math.isinf(value):
            return math.copysign(self.overflow, value)
        if value == 0 or math.isnan(value):
            return value
        exponent = max(math.frexp(value)[1] - 1, 1 - self.bias)  # below the smallest normal the spacing no longer shrinks
        step = 2.0 ** (exponent - self.mantissa_bits)
        nearest = round(value / step) * step
        return nearest if abs(nearest) <= self.max else math.copysign(self.overflow, value)


PRECISIONS: dict[str, Precision] = {
    p.name: p
    for p in (
        Precision("fp32", 4, 8, 23, "float32", "fp32", "fp32", "fp32"),
        Precision("tf32", 4, 8, 10, "float32", "fp32", "tf32", "tf32"),
        Precision("fp16", 2, 5, 10, "float16", "fp16", "fp16", "fp16"),
        Precision("bf16", 2, 8, 7, "bfloat16", "bf16", "bf16", "bf16"),
        Precision("fp8_e4m3", 1, 4, 3, "float8_e4m3fn", "fp8e4nv", "fp8_e4m3", "bf16", finite_only=True),
        # cuBLASLt multiplies E5M2 only by E4M3, so both implementations do (PyTorch's _scaled_mm documentation).
        Precision("fp8_e5m2", 1, 5, 2, "float8_e5m2", "fp8e5", "fp8_e4m3", "bf16"),
    )
}
