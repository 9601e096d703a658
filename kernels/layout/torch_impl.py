"""The layout functions in PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import torch

from kernels.layout.spec import describe
from kernels.op import Inputs, Kernel, Point
from kernels.torch_modes import compile_for, with_kernel_configs

Tensor = torch.Tensor
Shape = torch.Size

CALLS: dict[str, Callable[..., Tensor]] = {  # f(shape of the result, *operands); sizes are the operands' own
    "slice": lambda shape, x: x[x.shape[0] // 2 :, x.shape[1] // 2 :],
    "step": lambda shape, x: x[::2, ::2],
    "row": lambda shape, x: x[x.shape[0] // 2],
    "column": lambda shape, x: x[:, x.shape[1] // 2],
    "transpose": lambda shape, x: x.t(),
    "reshape": lambda shape, x: x.reshape(shape),
    "view": lambda shape, x: x.view(shape),
    "expand": lambda shape, x: x.expand(shape),
    "view_of_transpose": lambda shape, x: x.t().view(shape),
    "clone": lambda shape, x: x.clone(),
    "contiguous": lambda shape, x: x.t().contiguous(),
    "reshape_copy": lambda shape, x: x.t().reshape(shape),
    "slice_copy": lambda shape, x: x[:, x.shape[1] // 2 :].contiguous(),
    "column_copy": lambda shape, x: x[:, x.shape[1] // 2].contiguous(),
    "expand_copy": lambda shape, x: x.expand(shape).contiguous(),
    "cat": lambda shape, x, y: torch.cat((x, y), 1),
}


def eager(point: Point, inputs: Inputs) -> Kernel:
    """The call; a copy allocates its result. The gate holds the result to the strides that `config` names."""
    call, shape, operands = CALLS[point.options["function"]], inputs.out.shape, inputs.operands
    return Kernel(lambda: call(shape, *operands), describe(point))


def compiled(point: Point, inputs: Inputs) -> Kernel:
    """The same through torch.compile: a view then costs what its guards and its wrapper take."""
    call, shape, operands = CALLS[point.options["function"]], inputs.out.shape, inputs.operands
    run = compile_for(point, lambda *tensors: call(shape, *tensors))
    strides = describe(point)
    return Kernel(lambda: run(*operands), lambda: with_kernel_configs(strides))
