"""matmul in PyTorch: mm and matmul through cuBLAS, fp8 through torch._scaled_mm, and with block scales through scaled_mm."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from kernels.op import Inputs, Kernel, Point, Unsupported
from kernels.torch_modes import autotuned_configs, autotuning, compile_for, kernel_configs


def eager(point: Point, inputs: Inputs) -> Kernel:
    """Writes (…, m, n) to the output buffer; fp8 allocates its result, since _scaled_mm's out= has no fake kernel to prove it with."""
    if len(inputs.operands) == 2:
        a, b = inputs.operands
        return Kernel(lambda: torch.matmul(a, b, out=inputs.out))
    multiply = scaled(point)
    return Kernel(lambda: multiply(*inputs.operands))


def compiled(point: Point, inputs: Inputs) -> Kernel:
    """The same products through torch.compile, which allocates its result."""
    function = compile_for(point, scaled(point) if len(inputs.operands) == 4 else torch.matmul)
    return Kernel(lambda: function(*inputs.operands), kernel_configs)


def autotuned(point: Point, inputs: Inputs) -> Kernel:
    """The same, compiled with what Inductor finds fastest by timing its candidates, cuBLAS among them."""
    function = compile_for(point, scaled(point) if len(inputs.operands) == 4 else torch.matmul, autotuning)
    return Kernel(lambda: function(*inputs.operands), autotuned_configs)


def scaled(point: Point) -> Callable[..., torch.Tensor]:
    """f(a, b, scale_a, scale_b) for the point's scaling and accumulation. Raises Unsupported where this PyTorch has no block scales."""
    fast = point.options["accumulation"] == "fast"
    if point.options["scaling"] == "block":
        return _block_scaled()

    def run(a: torch.Tensor, b: torch.Tensor, scale_a: torch.Tensor, scale_b: torch.Tensor) -> torch.Tensor:
        rows = a.reshape(-1, a.shape[-1])
        if scale_a.dim():
            scale_a = scale_a.reshape(-1, 1)
        out = torch._scaled_mm(rows, b, scale_a=scale_a, scale_b=scale_b, out_dtype=torch.bfloat16, use_fast_accum=fast)
        return out.view(*a.shape[:-1], b.shape[-1])

    return run


def _block_scaled() -> Callable[..., torch.Tensor]:
    """A's scales by 1 × 128 elements, B's by 128 × 128; the sums of every block of k go to fp32 ones, so fast and slow are the same."""
    if not hasattr(F, "scaled_mm"):
        raise Unsupported(f"block scales need torch.nn.functional.scaled_mm, which PyTorch {torch.__version__} lacks: update it")
    recipes = (F.ScalingType.BlockWise1x128, F.ScalingType.BlockWise128x128)

    def run(a: torch.Tensor, b: torch.Tensor, scale_a: torch.Tensor, scale_b: torch.Tensor) -> torch.Tensor:
        return F.scaled_mm(a, b, scale_a, recipes[0], scale_b, recipes[1], output_dtype=torch.bfloat16)

    return run
