"""Families of points, by the part of the GPU that limits their time. Pure."""

from __future__ import annotations

from kernels.registry import VECTOR_PRECISION, compute_precision

MEMORY, TENSOR, LAUNCH, OTHER = "memory", "tensor cores", "launch", "other"
FAMILIES = (MEMORY, TENSOR, LAUNCH, OTHER)
ALL = "all"  # every point, of whatever family


def family(op: str, precision: str, bound: str | None) -> str:
    """Returns the family of a point; `bound`: what the cost model says limits it on that GPU, None where the GPU's peaks are not known.

    What computes without tensor cores, and whatever has no bound, is `other`.
    """
    if bound == "memory":
        return MEMORY
    if bound == "overhead":
        return LAUNCH
    if bound == "compute" and compute_precision(op, precision) != VECTOR_PRECISION:
        return TENSOR
    return OTHER
