"""einops' rearrange and reduce."""

from kernels.einops_op.spec import OP

__all__ = ["OP"]
