"""rearrange and reduce by the einops library, on PyTorch tensors."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import einops
import torch

from kernels.einops_op.pattern import ADVICE, parse
from kernels.einops_op.spec import is_view, result
from kernels.op import Inputs, Kernel, Point
from kernels.torch_modes import compile_for, with_kernel_configs

warnings.filterwarnings("ignore", ADVICE)  # for the whole process: a timed call cannot spend time on it


def function(point: Point) -> Callable[[torch.Tensor], torch.Tensor]:
    """f(operand): the call as one writes it, which sizes the axes that share a dim and leaves the others to the operand's shape."""
    pattern, reduction = point.options["pattern"], point.options["reduction"]
    sizes = {axis: point.dims[axis] for group in parse(pattern).left if len(group) > 1 for axis in group}
    if reduction == "none":
        return lambda x: einops.rearrange(x, pattern, **sizes)
    return lambda x: einops.reduce(x, pattern, reduction, **sizes)


def eager(point: Point, inputs: Inputs) -> Kernel:
    """A view of the operand where strides can say it, else a new tensor. The gate holds it to the strides that `config` names."""
    run, (x,) = function(point), inputs.operands
    return Kernel(lambda: run(x), result(point).describe(is_view(point)))


def compiled(point: Point, inputs: Inputs) -> Kernel:
    """The same through torch.compile: one kernel, and the pattern is read when it compiles."""
    run, (x,) = compile_for(point, function(point)), inputs.operands
    strides = result(point).describe(is_view(point))
    return Kernel(lambda: run(x), lambda: with_kernel_configs(strides))
