"""Contractions in einops-style names."""

from kernels.einsum.spec import OP

__all__ = ["OP"]
