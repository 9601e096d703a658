"""The list of operations. Adding one is one line here."""

from kernels import einsum, elementwise, gradient, matmul, training, transformer
from kernels.op import Op
from kernels.parts import VECTOR_PRECISION

OPS: dict[str, Op] = {op.name: op for op in (matmul.OP, elementwise.OP, einsum.OP, gradient.OP, transformer.OP, training.OP)}


def compute_precision(op: str, precision: str) -> str:
    """The precision whose peak bounds an op: its own on matrix units, VECTOR_PRECISION elsewhere and for ops not known here."""
    return precision if op in OPS and OPS[op].on_matrix_units else VECTOR_PRECISION
