"""An op of one's own, softmax over rows, and a Triton kernel that implements it."""

import torch
import triton
import triton.language as tl

from microbench_api import implementation, normal, op


def inputs(point, device, generator):
    return normal(point, device, generator, point.dims["m"], point.dims["n"])


@op("softmax_rows", dims=("m", "n"), inputs=inputs, precisions=["fp32", "bf16"], example={"m": 4096, "n": 4096})
def softmax_rows(x):
    """Softmax over each row of a matrix."""
    return torch.softmax(x, dim=-1)


@triton.jit
def kernel(out, x, n, BLOCK: tl.constexpr):
    row, column = tl.program_id(0), tl.arange(0, BLOCK)
    values = tl.load(x + row * n + column, mask=column < n, other=-float("inf")).to(tl.float32)
    powers = tl.exp(values - tl.max(values))
    tl.store(out + row * n + column, (powers / tl.sum(powers)).to(out.dtype.element_ty), mask=column < n)


@implementation("softmax_rows", name="fused", language="triton")
def build(point, inputs):
    (x,), (m, n) = inputs.operands, inputs.out.shape

    def run():
        kernel[(m,)](inputs.out, x, n, BLOCK=triton.next_power_of_2(n))

    return run
