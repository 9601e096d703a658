"""The list of operations. Adding one is one line here."""

from kernels import einops_op, einsum, elementwise, gradient, layout, matmul, optimizer, training, transformer
from kernels.op import Op
from kernels.parts import VECTOR_PRECISION

FAMILIES = (matmul, elementwise, einsum, layout, einops_op, optimizer, gradient, transformer, training)

OPS: dict[str, Op] = {family.OP.name: family.OP for family in FAMILIES}


def compute_precision(op: str, precision: str) -> str:
    """The precision whose peak bounds an op: its own on matrix units, VECTOR_PRECISION elsewhere and for ops not known here."""
    return precision if op in OPS and OPS[op].on_matrix_units else VECTOR_PRECISION
