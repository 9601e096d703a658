"""The list of operations. Adding one is one line here."""

from kernels import einsum, elementwise, matmul
from kernels.op import Op

OPS: dict[str, Op] = {op.name: op for op in (matmul.OP, elementwise.OP, einsum.OP)}
