"""Operands, fp64 reference by the chain rule written by hand, and tolerance of gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from kernels import tolerances
from kernels.gradient.spec import weight_shapes
from kernels.models.modules import scaled_normal
from kernels.op import Inputs, Point
from kernels.rounding import EXACT, Arithmetic, allowed
from kernels.tensors import Maker, dtype_of

SUMMED = {"forward": ("inputs",), "backward": ("outputs", "tokens"), "both": ("inputs", "outputs", "tokens")}  # by C, dA, dB


def walk(a: Tensor, b: Tensor) -> Tensor:
    """R of kernels/tolerances.py for a·b."""
    return a.norm(dim=-1, keepdim=True) * b.norm(dim=-2, keepdim=True) / math.sqrt(a.shape[-1])


def make_inputs(point: Point, device: str | torch.device, seed: int | None) -> Inputs:
    """A or X (tokens, inputs), dC or dy (tokens, outputs) but for a forward pass, then the weights.

    The deep model's weights are scaled by 1/√fan-in whatever the data, so that activations keep their size through its layers.
    """
    maker = Maker(point.options["data"], device, seed)
    is_matmul = point.options["model"] == "matmul"
    shapes = weight_shapes(point)
    tokens, inputs = point.dims["tokens"], shapes[0][0] if is_matmul else shapes[0][1]
    outputs = point.dims["outputs"] if is_matmul else 1
    operands = [maker.tensor((tokens, inputs), point.precision)]
    if point.options["pass"] != "forward":
        operands.append(maker.tensor((tokens, outputs), point.precision))
    if is_matmul:
        operands.append(maker.tensor(shapes[0], point.precision))
    else:
        dtype = dtype_of(point.precision)
        operands += [scaled_normal(torch.Size(s), s[1], maker.device, maker.generator).to(dtype) for s in shapes]
    out = tuple(torch.empty(s, dtype=dtype_of(point.precision), device="meta") for s in result_shapes(point))
    return Inputs(tuple(operands), out[0] if point.options["pass"] == "forward" else out)


def result_shapes(point: Point) -> list[tuple[int, ...]]:
    """Of the output, unless only gradients are returned, then of dA and dB, or of every weight's gradient."""
    tokens, is_matmul = point.dims["tokens"], point.options["model"] == "matmul"
    output = [(tokens, point.dims["outputs"] if is_matmul else 1)]
    gradients = [*([(tokens, point.dims["inputs"])] if is_matmul else []), *weight_shapes(point)]
    return ([] if point.options["pass"] == "backward" else output) + ([] if point.options["pass"] == "forward" else gradients)


def evaluate(point: Point, operands: Sequence[Tensor], arithmetic: Arithmetic) -> tuple[Tensor, ...]:
    """The results by the chain rule, of fp64 operands."""
    multiply, which = arithmetic.multiply, point.options["pass"]
    x, *rest = operands
    upstream = None if which == "forward" else rest.pop(0)
    if point.options["model"] == "matmul":
        (b,) = rest
        output = () if which == "backward" else (multiply(x, b),)
        return output if upstream is None else (*output, multiply(upstream, b.mT), multiply(x.mT, upstream))
    inputs = [x]  # of each weight
    for weight in rest:
        inputs.append(multiply(inputs[-1], weight.mT))
    output = () if which == "backward" else (inputs[-1],)
    if upstream is None:
        return output
    gradients: list[Tensor] = []
    for i in reversed(range(len(rest))):
        gradients.insert(0, multiply(upstream.mT, inputs[i]))
        upstream = multiply(upstream, rest[i]) if i else upstream  # nobody asks for the gradient of x
    return (*output, *gradients)


def as_asked(point: Point, results: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    """A forward pass gives a tensor, the others a tuple."""
    return results[0] if point.options["pass"] == "forward" else results


def reference(point: Point, operands: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    """Output and gradients in fp64."""
    return as_asked(point, evaluate(point, [t.double() for t in operands], EXACT))


def tolerance(point: Point, operands: tuple[Tensor, ...], expected: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    """Results that are one product each by kernels/tolerances.py; through a model by kernels/rounding.py, every product stored."""
    exact = expected if isinstance(expected, tuple) else (expected,)
    wide = [t.double() for t in operands]
    if point.options["model"] == "matmul":
        walks = evaluate(point, wide, replace(EXACT, multiply=walk))
        sums = [point.dims[name] for name in SUMMED[point.options["pass"]]]
        products = zip(exact, walks, sums, strict=True)
        return as_asked(point, tuple(tolerances.contraction(one, size, point.precision, k) for one, size, k in products))
    return as_asked(point, allowed(lambda arithmetic: evaluate(point, wide, arithmetic), exact, point.precision))
