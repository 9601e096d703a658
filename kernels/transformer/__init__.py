"""Forward and backward passes of a Transformer block and of a whole decoder-only model."""

from kernels.transformer.spec import OP

__all__ = ["OP"]
