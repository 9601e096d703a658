"""Short forms of functions for Triton's bodies. What limits an elementwise kernel on narrow elements is how many instructions it issues
for each, so these leave out what Triton's own functions spend on cases that cannot occur here.

Compiled, `reciprocal` and `exp2` are one instruction each; Triton's division and exp2 surround theirs with four or five that keep
subnormal results. Accuracy: PTX ISA, "rcp.approx.ftz" (1 ulp) and "ex2.approx.ftz" (2 ulp).
"""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.compilation import INTERPRETED

COMPILED = tl.constexpr(not INTERPRETED)  # the interpreter does not run PTX


@triton.jit
def reciprocal(x: tl.tensor) -> tl.tensor:
    """1 / x, and 0 where that is below the smallest normal fp32 number."""
    if COMPILED:
        return tl.inline_asm_elementwise("rcp.approx.ftz.f32 $0, $1;", "=r,r", [x], dtype=tl.float32, is_pure=True, pack=1)
    else:  # Triton needs both branches of a constexpr
        return 1.0 / x


@triton.jit
def exp2(x: tl.tensor) -> tl.tensor:
    """2ˣ, and 0 where that is below the smallest normal fp32 number."""
    if COMPILED:
        return tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=r,r", [x], dtype=tl.float32, is_pure=True, pack=1)
    else:  # Triton needs both branches of a constexpr
        return tl.exp2(x)


@triton.jit
def gelu_by_erf(x: tl.tensor) -> tl.tensor:
    """½ · x · (1 + erf(x / √2)), off by at most 2⁻²² · |x| from an erf that is off by at most 1.5 · 10⁻⁷.

    erf z = 1 − (a₁t + … + a₅t⁵) e^(−z²) with t = 1 / (1 + p·z) for z ≥ 0: Abramowitz and Stegun, Handbook of Mathematical Functions
    (1964), 7.1.26; the coefficients below are half of theirs. libdevice's erf chooses between two polynomials instead, whose coefficients
    take 14 moves an element. Where |x| is above 16, so much is subtracted as at 16, which is nothing, so that infinity is no NaN.
    """
    size = tl.minimum(tl.abs(x), 16.0)
    t = reciprocal(1.0 + size * 0.23164189)  # p / √2, p = 0.3275911
    half = 0.127414796 + t * (-0.142248368 + t * (0.7107068705 + t * (-0.7265760135 + t * 0.5307027145)))
    decay = exp2(size * size * -0.7213475204444817)  # e^(−x²/2) = 2^(−x² / (2 ln 2))
    return tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL) - size * t * half * decay
