"""Liger's kernels, for `--import`: each op is its inputs and PyTorch's function, and Liger's function is an implementation of it.

This is how a package's kernels are checked without editing it. The package is imported when a kernel is built.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from microbench_api import Inputs, Point, dtype, implementation, normal, op

EPS = 1e-6
ROWS = ("rows", "columns")
HEADS = ("batch", "heads", "sequence", "head_dim")
Maker = Callable[[Point, Any, Any], Tensor]


def matrix(point: Point, device: Any, generator: Any) -> Tensor:
    return normal(point, device, generator, point.dims["rows"], point.dims["columns"])


def vector(point: Point, device: Any, generator: Any) -> Tensor:
    return normal(point, device, generator, point.dims["columns"])


def classes(point: Point, device: Any, generator: Any) -> Tensor:
    """A column's index for each row; on the device "meta", which holds no numbers, no generator."""
    return torch.randint(point.dims["columns"], (point.dims["rows"],), device=device, generator=generator)


def heads(point: Point, device: Any, generator: Any) -> Tensor:
    return normal(point, device, generator, *point.dims.values())


def angles(point: Point, device: Any) -> Tensor:
    """(1, sequence, head_dim), both halves alike, in fp32."""
    width = point.dims["head_dim"]
    frequencies = 10000.0 ** -(torch.arange(0, width, 2, device=device) / width)
    turned = torch.arange(point.dims["sequence"], device=device)[:, None] * frequencies
    return torch.cat([turned, turned], -1)[None]


def cosines(point: Point, device: Any, generator: Any) -> Tensor:
    return angles(point, device).cos().to(dtype(point))


def sines(point: Point, device: Any, generator: Any) -> Tensor:
    return angles(point, device).sin().to(dtype(point))


def each(*makers: Maker) -> Callable[[Point, Any, Any], tuple[Tensor, ...]]:
    """Operands, made one after the other."""
    return lambda point, device, generator: tuple(make(point, device, generator) for make in makers)


def liger(name: str, call: Callable[..., Tensor]) -> None:
    """Registers Liger's implementation of an op. call: f(module of liger_kernel.ops, *operands)."""

    @implementation(f"liger_{name}", name="liger", language="triton", precisions=["fp32", "fp16", "bf16"], allocates=True)
    def build(point: Point, inputs: Inputs) -> Callable[[], Tensor]:
        module = import_module(f"liger_kernel.ops.{name}")
        return lambda: call(module, *inputs.operands)


@op("liger_softmax", dims=ROWS, inputs=each(matrix))
def softmax(x: Tensor) -> Tensor:
    """Computes the softmax of each row."""
    return x.softmax(-1)


@op("liger_cross_entropy", dims=ROWS, inputs=each(matrix, classes))
def cross_entropy(x: Tensor, target: Tensor) -> Tensor:
    """Computes the cross entropy of each row of logits with a class."""
    return functional.cross_entropy(x, target, reduction="none")


@op("liger_rms_norm", dims=ROWS, inputs=each(matrix, vector))
def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    """Divides each row by its root mean square, and multiplies it by a weight."""
    return functional.rms_norm(x, weight.shape, weight, EPS)


@op("liger_layer_norm", dims=ROWS, inputs=each(matrix, vector, vector))
def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Normalises each row to mean 0 and variance 1, then applies a weight and a bias."""
    return functional.layer_norm(x, weight.shape, weight, bias, EPS)


@op("liger_swiglu", dims=ROWS, inputs=each(matrix, matrix))
def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """Multiplies the SiLU of one matrix by another."""
    return functional.silu(gate) * up


@op("liger_geglu", dims=ROWS, inputs=each(matrix, matrix))
def geglu(gate: Tensor, up: Tensor) -> Tensor:
    """Multiplies the GELU (by tanh) of one matrix by another."""
    return functional.gelu(gate, approximate="tanh") * up


@op("liger_rope", dims=HEADS, inputs=each(heads, heads, cosines, sines), small={"batch": 2, "heads": 3, "sequence": 5, "head_dim": 32})
def rope(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Turns queries and keys by their positions."""

    def turned(x: Tensor) -> Tensor:
        first, second = x.chunk(2, -1)
        return x * cos + torch.cat([-second, first], -1) * sin

    return turned(q), turned(k)


liger("softmax", lambda module, x: module._softmax_forward(x)[0])
liger("cross_entropy", lambda module, x, target: module.cross_entropy_forward(x, target, None, -100, 0.0, 0.0, "none", None, False)[0])
liger("rms_norm", lambda module, x, weight: module.rms_norm_forward(x, weight, EPS, 0.0, "llama", None)[0])
liger("layer_norm", lambda module, x, weight, bias: module.layer_norm_forward(x, weight, bias, EPS)[0])
liger("swiglu", lambda module, gate, up: module.swiglu_forward(gate, up)[2])
liger("geglu", lambda module, gate, up: module.geglu_forward(gate, up)[2])
liger("rope", lambda module, q, k, cos, sin: module.rope_forward(q, k, cos, sin)[:2])
