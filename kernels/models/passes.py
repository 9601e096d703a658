"""Forward, backward, or both, as a kernel: what a training step does before the optimizer's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from kernels.op import Kernel


def leaf(tensor: Tensor) -> Tensor:
    """The same memory, as something to differentiate by."""
    return tensor.detach().requires_grad_()


def passes(which: str, forward: Callable[[], Tensor], leaves: Sequence[Tensor], upstream: Tensor | None = None) -> Kernel:
    """`forward` gives the output, `upstream` its gradient (None: the output is a scalar loss).

    forward  → the output. What the backward pass needs is kept while it is computed, as in training, and dropped after.
    backward → the leaves' gradients, through one forward pass that is made here and kept.
    both     → the output and the leaves' gradients.

    A CUDA graph can hold `forward` and `both`, but not `backward`: autograd runs each gradient on the stream that its operation ran on,
    and the forward pass ran outside the capture.
    """

    def gradients(output: Tensor, keep: bool) -> tuple[Tensor, ...]:
        return torch.autograd.grad(output, leaves, upstream, retain_graph=keep)

    def both() -> tuple[Any, ...]:
        output = forward()
        return (output.detach(), *gradients(output, keep=False))

    if which == "forward":
        return Kernel(lambda: forward().detach())
    if which == "backward":
        output = forward()
        return Kernel(lambda: gradients(output, keep=True), capturable=False)
    return Kernel(both)
