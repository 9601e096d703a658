"""Pointwise functions of (m, n) matrices."""

from kernels.elementwise.spec import OP

__all__ = ["OP"]
