"""How far a correct result may lie from the fp64 reference, derived from the formats and the accumulators. Never fitted.

Contractions. Let c = Σ_K p be a sum of K products, and R the size that such a sum has for zero-mean data, √K times a product's:
R = ∏‖operand‖ / ∏(summed size)^((q−1)/2), norms over the summed dims, q the number of operands that hold the dim. For two operands
R = ‖a_row‖·‖b_col‖/√K. Then a correct kernel errs by

    output rounding        u_out·|c| + ½ smallest subnormal                              exact IEEE bound
    operand rounding       tf32 drops 13 bits by truncation, 2⁻¹⁰ an operand:            2·2⁻¹⁰·|c| + λ·2⁻¹⁰·R
    intermediates          each of the path's (steps − 1) is rounded to the precision:   λ·u·R  each
    accumulation           partial sums walk as R·√(i/K), or where they end far out at c as c·i/K; each of the steps rounds one
      fp32 FMA             K steps, u = 2⁻²⁴ to nearest, errors independent:             λ·u·√K·√(R²/6 + c²/9), at least λ·u·R
      tensor core          N = K/group steps; the group's products are aligned and
                           truncated (√N, independent), and so is the sum, always
                           toward zero, so the errors add up along the walk (N/√3):      λ·u·R·(N/√3 + 2·√N)

with u = 2⁻²³ for 16-bit and tf32 operands (fp32 accumulators, truncated) and 2⁻¹³ for fp8: Hopper's fp8 units keep about 14 bits
(DeepSeek-V3 technical report, §3.3.2). Groups are wgmma's K: 16 for 16-bit, 8 for tf32, 32 for fp8 (PTX ISA, wgmma.mma_async).
Where fp8 sums are added to fp32 ones every 128 products (slow accumulation, block scales), those 128 are summed as above from zero, each
time in a walk of length R·√(128/K); the K/128 errors are independent, so together they are those of 128 products with the whole R. The
fp32 additions round K/128 times.
λ = 8 standard deviations: the worst of 10⁹ elements of a normal lies at 6.1.

Pointwise functions are computed in fp32 and rounded once: u_out·|y| + ½ subnormal + ULPS·2⁻²⁴·scale, where scale sums the magnitudes
that the formula passes through. An eager composition also rounds its intermediates to the precision, which the op adds itself.
"""

from __future__ import annotations

import math

import torch

from kernels.precisions import PRECISIONS

LAMBDA = 8.0
U32 = 2.0**-24
TF32_TRUNCATION = 2.0**-10
ULPS = 8.0  # of fp32, for a chain of up to nine operations and approximate exponentials (2 ulp, CUDA programming guide, table of errors)
GROUPS = {"tf32": 8, "fp16": 16, "bf16": 16, "fp8_e4m3": 32, "fp8_e5m2": 32}  # products a tensor core sums at once

PROMOTED = 128  # fp8 products between two additions to fp32 sums


def accumulation(total: torch.Tensor, walk: torch.Tensor, precision: str, k: int) -> torch.Tensor:
    """What the accumulator adds to the error of a sum of k products that ends at `total`, fp64. walk: R above."""
    if precision == "fp32":
        return LAMBDA * U32 * torch.maximum(walk, math.sqrt(k) * torch.hypot(walk / math.sqrt(6), total / 3))
    steps = math.ceil(k / GROUPS[precision])
    u = 2.0**-13 if PRECISIONS[precision].bytes == 1 else 2.0**-23
    return LAMBDA * u * (steps / math.sqrt(3) + 2 * math.sqrt(steps)) * walk


def contraction(
    reference: torch.Tensor, walk: torch.Tensor, precision: str, k: int, intermediates: int = 0, promoted: bool = False
) -> torch.Tensor:
    """Allowed absolute error of a contraction, fp64, of `reference`'s shape.

    walk: R above, broadcastable to the reference. k: products summed an element. intermediates: rounded partial results before the last.
    promoted: fp8 sums are added to fp32 ones every 128 products.
    """
    relative = PRECISIONS[PRECISIONS[precision].matmul_out].unit_roundoff if precision != "tf32" else U32
    factor = intermediates * LAMBDA * PRECISIONS[precision].unit_roundoff
    if precision == "tf32":
        relative += 2 * TF32_TRUNCATION
        factor += LAMBDA * TF32_TRUNCATION
    accumulated = accumulation(reference, walk, precision, min(k, PROMOTED) if promoted else k)
    if promoted:
        accumulated = accumulated + accumulation(reference, walk, "fp32", math.ceil(k / PROMOTED))
    return rounding(reference, PRECISIONS[precision].matmul_out, relative) + accumulated + factor * walk


def rounding(reference: torch.Tensor, precision: str, relative: float | None = None) -> torch.Tensor:
    """u·|y| + half the smallest subnormal: one rounding to `precision`."""
    u = PRECISIONS[precision].unit_roundoff if relative is None else relative
    return reference.abs() * u + PRECISIONS[precision].smallest_subnormal / 2


def pointwise(reference: torch.Tensor, scale: torch.Tensor, precision: str) -> torch.Tensor:
    """Allowed absolute error of a function computed in fp32 through values of magnitude `scale` and rounded to `precision`."""
    return rounding(reference, precision) + ULPS * U32 * scale
