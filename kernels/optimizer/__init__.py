"""One optimizer step over tensors of parameters."""

from kernels.optimizer.spec import OP

__all__ = ["OP"]
