"""The modules of kernels/models in PyTorch, eager and with forward and backward compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from kernels.models.modules import functional_block, functional_loss
from kernels.models.passes import leaf, passes
from kernels.op import Inputs, Kernel, Point
from kernels.torch_modes import compile_for, kernel_configs
from kernels.transformer.spec import config


def model(point: Point) -> Callable[..., Tensor]:
    """f(x, *weights) → output of a block, or f(tokens, targets, *weights) → loss."""
    return functional_block(config(point)) if point.options["scope"] == "block" else functional_loss(config(point))


def bind(point: Point, inputs: Inputs, function: Callable[..., Tensor]) -> Kernel:
    """The point's passes; gradients of a block's input and of all weights."""
    which = point.options["pass"]
    if point.options["scope"] == "model":
        tokens, targets, *rest = inputs.operands
        weights = [leaf(w) for w in rest]
        return passes(which, lambda: function(tokens, targets, *weights), weights)
    x, *rest = inputs.operands
    upstream = None if which == "forward" else rest.pop(0)
    leaves = [leaf(t) for t in (x, *rest)]
    return passes(which, lambda: function(*leaves), leaves, upstream)


def eager(point: Point, inputs: Inputs) -> Kernel:
    """One ATen call an operation."""
    return bind(point, inputs, model(point))


def compiled(point: Point, inputs: Inputs) -> Kernel:
    """The forward pass compiled, and with it the backward pass; what lies between the products is fused."""
    return replace(bind(point, inputs, compile_for(point, model(point))), config=kernel_configs)
