"""Gradients by PyTorch's autograd, eager and with forward and backward compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from kernels.gradient.spec import deep_linear
from kernels.models.modules import functional_deep_linear
from kernels.models.passes import leaf, passes
from kernels.op import Inputs, Kernel, Point
from kernels.torch_modes import compile_for, kernel_configs


def model(point: Point) -> Callable[..., Tensor]:
    """f(x, *weights) → output."""
    return Tensor.matmul if point.options["model"] == "matmul" else functional_deep_linear(deep_linear(point))


def bind(point: Point, inputs: Inputs, function: Callable[..., Tensor]) -> Kernel:
    """The point's passes of `function`; of A too for a product, of the weights only for a model."""
    x, *rest = inputs.operands
    upstream = None if point.options["pass"] == "forward" else rest.pop(0)
    weights = [leaf(w) for w in rest]
    if point.options["model"] == "matmul":
        x = leaf(x)
        return passes(point.options["pass"], lambda: function(x, *weights), [x, *weights], upstream)
    return passes(point.options["pass"], lambda: function(x, *weights), weights, upstream)


def eager(point: Point, inputs: Inputs) -> Kernel:
    """One ATen call a product."""
    return bind(point, inputs, model(point))


def compiled(point: Point, inputs: Inputs) -> Kernel:
    """The forward pass compiled, and with it the backward pass."""
    return replace(bind(point, inputs, compile_for(point, model(point))), config=kernel_configs)
