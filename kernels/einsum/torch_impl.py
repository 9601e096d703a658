"""einsum in PyTorch: torch.einsum a step, along the path that was costed."""

from __future__ import annotations

from collections.abc import Callable

import torch

from kernels.einsum.spec import path
from kernels.op import Inputs, Kernel, Point
from kernels.torch_modes import autotuned_configs, autotuning, compile_for, kernel_configs


def contraction(point: Point) -> Callable[..., torch.Tensor]:
    """f(*operands) -> a new tensor of the output's dims. What torch.einsum gives as a view, a permutation, is copied: the cost says so."""
    steps = [(step, step.letters()) for step in path(point)]
    only = steps[0][0]
    permutes = len(steps) == 1 and len(only.terms) == 1 and not only.summed

    def run(*operands: torch.Tensor) -> torch.Tensor:
        live = list(operands)
        for step, letters in steps:
            live = step.after(live, torch.einsum(letters, *(live[i] for i in step.positions)))
        return live[0].clone(memory_format=torch.contiguous_format) if permutes else live[0]

    return run


def eager(point: Point, inputs: Inputs) -> Kernel:
    """torch.einsum has no out=: every call allocates its result."""
    run = contraction(point)
    return Kernel(lambda: run(*inputs.operands))


def compiled(point: Point, inputs: Inputs) -> Kernel:
    """The same path through torch.compile, which allocates its result."""
    run = compile_for(point, contraction(point))
    return Kernel(lambda: run(*inputs.operands), kernel_configs)


def autotuned(point: Point, inputs: Inputs) -> Kernel:
    """The same, compiled with what Inductor finds fastest by timing its candidates."""
    run = compile_for(point, contraction(point), autotuning)
    return Kernel(lambda: run(*inputs.operands), autotuned_configs)
