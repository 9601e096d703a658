"""Operands, fp64 reference and tolerance of Transformer blocks and models."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kernels.models.modules import scaled_normal
from kernels.op import Inputs, Point
from kernels.rounding import EXACT, Arithmetic, allowed
from kernels.tensors import Maker, dtype_of
from kernels.transformer.formula import block, loss
from kernels.transformer.spec import config

FAINT = 2.0**-9  # what a block's first token is scaled by: its mean square, about 4e-6, is less than a norm's eps
NORM_SPREAD = 0.125  # of norms' weights about 1, so that a missing one is seen


def weight_shapes(point: Point) -> dict[str, tuple[int, ...]]:
    """By name, in the order of the module's parameters."""
    c = config(point)
    return c.block_weights if point.options["scope"] == "block" else c.weights


def make_inputs(point: Point, device: str | torch.device, seed: int | None) -> Inputs:
    """A block's x, and the gradient of its output but for a forward pass; or tokens and targets; then the weights.

    Matrices are scaled by 1/√fan-in whatever the data. `zeros` makes every token the first of the vocabulary.
    """
    maker = Maker(point.options["data"], device, seed)
    shape, dtype = (point.dims["batch"], point.dims["sequence"]), dtype_of(point.precision)
    if point.options["scope"] == "block":
        size = torch.where(torch.arange(shape[1], device=maker.device) == 0, FAINT, 1.0).to(dtype)
        operands = [maker.tensor((*shape, point.dims["hidden"]), point.precision) * size.unsqueeze(1)]
        if point.options["pass"] != "forward":
            operands.append(maker.tensor(operands[0].shape, point.precision))
    else:
        vocab = 1 if point.options["data"] == "zeros" else point.dims["vocab"]
        operands = [torch.randint(vocab, shape, device=maker.device, generator=maker.generator) for _ in range(2)]
    lookups = config(point).lookups
    for name, weight in weight_shapes(point).items():
        if len(weight) == 1:
            operands.append(maker.tensor(weight, point.precision, NORM_SPREAD).add_(1))
        else:
            fan_in = 1 if name in lookups else weight[1]
            operands.append(scaled_normal(torch.Size(weight), fan_in, maker.device, maker.generator).to(dtype))
    out = tuple(torch.empty(s, dtype=d, device="meta") for s, d in results(point))
    return Inputs(tuple(operands), out[0] if point.options["pass"] == "forward" else out)


def results(point: Point) -> list[tuple[tuple[int, ...], torch.dtype]]:
    """Shapes and dtypes of output or loss, unless only gradients are returned, then of the gradients."""
    dtype = dtype_of(point.precision)
    gradients: list[tuple[tuple[int, ...], torch.dtype]] = [(shape, dtype) for shape in weight_shapes(point).values()]
    output: tuple[tuple[int, ...], torch.dtype] = ((), torch.float32)
    if point.options["scope"] == "block":
        output = (tuple(point.dims[d] for d in ("batch", "sequence", "hidden")), dtype)
        gradients = [output, *gradients]
    return ([] if point.options["pass"] == "backward" else [output]) + ([] if point.options["pass"] == "forward" else gradients)


def evaluate(point: Point, operands: Sequence[Tensor], arithmetic: Arithmetic) -> tuple[Tensor, ...]:
    """The results of fp64 operands by kernels/transformer/formula.py, gradients by autograd through it."""
    which, c = point.options["pass"], config(point)
    names = list(weight_shapes(point))
    weights = dict(zip(names, (t.detach().requires_grad_() for t in operands[-len(names) :]), strict=True))
    upstream = None
    if point.options["scope"] == "block":
        x = operands[0].detach().requires_grad_()
        leaves = [x, *weights.values()]
        output = block(arithmetic, c, x, weights)
        upstream = None if which == "forward" else operands[1]
    else:
        leaves = list(weights.values())
        output = loss(arithmetic, c, operands[0], operands[1], weights)
    gradients = () if which == "forward" else torch.autograd.grad(output, leaves, upstream)
    return (*(() if which == "backward" else (output.detach(),)), *gradients)


def widened(operands: Sequence[Tensor]) -> list[Tensor]:
    """In fp64; token numbers stay whole."""
    return [t.double() if t.is_floating_point() else t for t in operands]


def reference(point: Point, operands: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    """Output or loss, and gradients, in fp64."""
    found = evaluate(point, widened(operands), EXACT)
    return found[0] if point.options["pass"] == "forward" else found


def tolerance(point: Point, operands: tuple[Tensor, ...], expected: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    """kernels/rounding.py: whatever eager PyTorch stores between its operations is rounded, on the way there and back."""
    exact = expected if isinstance(expected, tuple) else (expected,)
    wide = widened(operands)
    found = allowed(lambda arithmetic: evaluate(point, wide, arithmetic), exact, point.precision)
    return found[0] if point.options["pass"] == "forward" else found
