"""The elementwise functions in PyTorch: one ATen kernel each, writing to a given output; bias_gelu_residual is three. Copies and casts
allocate their result, as `clone` and `to` do."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from kernels.op import Inputs, Kernel, Point
from kernels.torch_modes import compile_for, kernel_configs

Tensor = torch.Tensor
aten = torch.ops.aten

INTO: dict[str, Callable[..., Tensor]] = {  # f(out, *operands)
    "add": lambda out, x, y: torch.add(x, y, out=out),
    "sub": lambda out, x, y: torch.sub(x, y, out=out),
    "mul": lambda out, x, y: torch.mul(x, y, out=out),
    "div": lambda out, x, y: torch.div(x, y, out=out),
    "pow2": lambda out, x: torch.pow(x, 2, out=out),
    "sqrt": lambda out, x: torch.sqrt(x, out=out),
    "rsqrt": lambda out, x: torch.rsqrt(x, out=out),
    "exp": lambda out, x: torch.exp(x, out=out),
    "relu": lambda out, x: torch.clamp_min(x, 0, out=out),
    "gelu": lambda out, x: aten.gelu.out(x, out=out),
    "gelu_tanh": lambda out, x: aten.gelu.out(x, approximate="tanh", out=out),
    "silu": lambda out, x: aten.silu.out(x, out=out),
    "triu": lambda out, x: torch.triu(x, out=out),
    "copy": lambda out, x: x.clone(),
    "cast": lambda out, x: x.to(out.dtype, copy=True),
    "bias_gelu_residual": lambda out, x, r, b: torch.add(r, F.gelu(x + b), out=out),
}


def eager(point: Point, inputs: Inputs) -> Kernel:
    """One call of INTO's function."""
    function, operands, out = INTO[point.options["function"]], inputs.operands, inputs.out
    return Kernel(lambda: function(out, *operands))


NEW: dict[str, Callable[..., Tensor]] = {  # f(*operands), in the operands' dtype
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "pow2": lambda x: x * x,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "exp": torch.exp,
    "relu": torch.relu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "triu": torch.triu,
    "copy": torch.clone,
    "bias_gelu_residual": lambda x, r, b: r + F.gelu(x + b),
}


def compiled(point: Point, inputs: Inputs) -> Kernel:
    """One fused kernel by torch.compile, which allocates its result. fp8 is computed in fp32 and converted, fused with the rest."""
    name, out_dtype = point.options["function"], inputs.out.dtype

    def function(*operands: Tensor) -> Tensor:
        if name == "cast":
            return operands[0].to(out_dtype, copy=True)  # a cast to its own precision moves its bytes too
        if operands[0].dtype.itemsize == 1 and name != "copy":
            operands = tuple(t.to(torch.float32) for t in operands)
        result = NEW[name](*operands)
        return result if result.dtype == out_dtype else result.to(out_dtype)

    run = compile_for(point, function)
    return Kernel(lambda: run(*inputs.operands), kernel_configs)
