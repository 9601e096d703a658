"""Matrix products: 2-D, and batched over leading dims."""

from kernels.matmul.spec import OP

__all__ = ["OP"]
