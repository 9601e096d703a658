"""A matmul of one's own: its inputs, reference, tolerance, cost and report are those of the suite's op."""

import torch

from microbench_api import implementation


@implementation("matmul", name="in_halves", precisions=["fp32", "bf16"], options={"layout": ["nn"]})
def build(point, inputs):
    """C[m, n] = A[m, k] · B[k, n], the upper half of the rows first."""
    a, b = inputs.operands
    half = point.dims["m"] // 2

    def run():
        torch.mm(a[:half], b, out=inputs.out[:half])
        torch.mm(a[half:], b, out=inputs.out[half:])

    return run
