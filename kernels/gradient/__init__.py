"""Forward and backward passes of one product and of the deep linear model."""

from kernels.gradient.spec import OP

__all__ = ["OP"]
