"""matmul in PyTorch: mm and matmul through cuBLAS, fp8 through torch._scaled_mm."""

from __future__ import annotations

import torch

from kernels.op import Inputs, Kernel, Point
from kernels.torch_modes import compile_for, kernel_configs


def eager(point: Point, inputs: Inputs) -> Kernel:
    """Writes (…, m, n) to the output buffer; fp8 allocates its result, since _scaled_mm's out= has no fake kernel to prove it with."""
    if len(inputs.operands) == 2:
        a, b = inputs.operands
        return Kernel(lambda: torch.matmul(a, b, out=inputs.out))
    return Kernel(lambda: _scaled(*inputs.operands))


def compiled(point: Point, inputs: Inputs) -> Kernel:
    """The same products through torch.compile, which allocates its result."""
    function = compile_for(point, _scaled if len(inputs.operands) == 4 else torch.matmul)
    return Kernel(lambda: function(*inputs.operands), kernel_configs)


def _scaled(a: torch.Tensor, b: torch.Tensor, scale_a: torch.Tensor, scale_b: torch.Tensor) -> torch.Tensor:
    rows = a.reshape(-1, a.shape[-1])
    out = torch._scaled_mm(rows, b, scale_a=scale_a, scale_b=scale_b, out_dtype=torch.bfloat16, use_fast_accum=True)
    return out.view(*a.shape[:-1], b.shape[-1])
