"""The elementwise functions in PyTorch: one or more ATen kernels each, which write to a given output. Copies and casts allocate their
result, as `clone` and `to` do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from kernels.elementwise import functions
from kernels.elementwise.spec import function_of
from kernels.op import Inputs, Kernel, Point
from kernels.torch_modes import autotuned_configs, autotuning, compile_for, kernel_configs

Tensor = torch.Tensor

functions.bind(torch=torch, F=F, aten=torch.ops.aten)


def eager(point: Point, inputs: Inputs) -> Kernel:
    """The function's eager call."""
    function, operands, out = function_of(point).eager, inputs.operands, inputs.out
    return Kernel(lambda: function(out, *operands))


def compiled(point: Point, inputs: Inputs) -> Kernel:
    """One fused kernel by torch.compile, which allocates its result."""
    run = compile_for(point, fused(point, inputs))
    return Kernel(lambda: run(*inputs.operands), kernel_configs)


def autotuned(point: Point, inputs: Inputs) -> Kernel:
    """The same, compiled with what Inductor finds fastest by timing its candidates."""
    run = compile_for(point, fused(point, inputs), autotuning)
    return Kernel(lambda: run(*inputs.operands), autotuned_configs)


def fused(point: Point, inputs: Inputs) -> Callable[..., Any]:
    """The function as one expression. fp8 is computed in fp32 and converted, fused with the rest."""
    f = function_of(point)
    out_dtype = (inputs.out if f.share is None else inputs.out[0]).dtype

    def function(*operands: Tensor) -> Any:
        if f.share is not None:
            values, scales = f.new(*operands, torch.finfo(out_dtype).max)
            return values.to(out_dtype), scales
        if f.converts:
            return operands[0].to(out_dtype, copy=True)  # a cast to its own precision moves its bytes too
        if operands[0].dtype.itemsize == 1 and not f.fp8_in_torch:
            operands = tuple(t.to(torch.float32) for t in operands)
        result = f.new(*operands)
        return result if result.dtype == out_dtype else result.to(out_dtype)

    return function
