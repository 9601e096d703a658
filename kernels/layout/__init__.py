"""Views and copies of (m, n) matrices."""

from kernels.layout.spec import OP

__all__ = ["OP"]
