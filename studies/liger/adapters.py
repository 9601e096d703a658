"""Liger's kernels as ops: each with its operands, a formula in fp64 and, as implementations, PyTorch's own function and Liger's.

This is what somebody writes to have a package's kernels checked without editing it. The package is imported when a kernel is built.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from kernels.op import DATA, Cost, Impl, Inputs, Kernel, Op, Point, always
from kernels.precisions import PRECISIONS
from kernels.registry import OPS
from kernels.rounding import EXACT, Arithmetic, allowed
from kernels.support import DeviceKind, Platform
from kernels.tensors import Maker, dtype_of

FORMATS = ("fp32", "fp16", "bf16")
EPS = 1e-6
SMALL = {"rows": 17, "columns": 131, "batch": 2, "heads": 3, "sequence": 5, "head_dim": 32}

Operands = tuple[Tensor, ...]


@dataclass(frozen=True)
class Case:
    """One op. Operands are the shapes of `shapes`, the first a row's input; `more` makes those that are not drawn from a normal."""

    name: str
    doc: str
    dims: tuple[str, ...]
    shapes: Callable[[Mapping[str, int]], tuple[tuple[int, ...], ...]]
    out: Callable[[Mapping[str, int]], tuple[int, ...]]
    formula: Callable[..., Tensor]  # of an Arithmetic and fp64 operands
    torch: Callable[..., Tensor]  # of the operands
    liger: Callable[..., Tensor]  # of the package's `ops` and the operands
    more: Callable[[Mapping[str, int], Maker, str], Operands] = lambda dims, maker, precision: ()


def softmax(a: Arithmetic, x: Tensor) -> Tensor:
    powers = a.computed((x - x.amax(-1, keepdim=True)).exp())
    return a.computed(powers / a.computed(powers.sum(-1, keepdim=True)))


def rms_norm(a: Arithmetic, x: Tensor, weight: Tensor) -> Tensor:
    inverse = a.computed((x.square().mean(-1, keepdim=True) + EPS).rsqrt())
    return a.computed(a.stored(x * inverse) * weight)


def layer_norm(a: Arithmetic, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centred = x - a.computed(x.mean(-1, keepdim=True))
    inverse = a.computed((centred.square().mean(-1, keepdim=True) + EPS).rsqrt())
    return a.computed(a.computed(a.computed(centred * inverse) * weight) + bias)


def swiglu(a: Arithmetic, gate: Tensor, up: Tensor) -> Tensor:
    return a.computed(a.stored(a.computed(gate.sigmoid()) * gate) * up)


def geglu(a: Arithmetic, gate: Tensor, up: Tensor) -> Tensor:
    inner = a.computed(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3))
    return a.computed(a.stored(0.5 * gate * a.computed(1 + inner.tanh())) * up)


def rope(a: Arithmetic, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Queries alone: (batch, heads, sequence, head_dim), rotated in pairs of a first and a second half."""
    return a.stored(q * cos) + a.stored(torch.cat(halves(q), -1) * sin)


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """−second half, first half."""
    first, second = x.chunk(2, -1)
    return -second, first


def cross_entropy(a: Arithmetic, x: Tensor, target: Tensor) -> Tensor:
    """Of each row."""
    largest = x.amax(-1, keepdim=True)
    total = a.computed(a.computed((x - largest).exp()).sum(-1, keepdim=True))
    return a.computed(largest + a.computed(total.log()) - x.gather(1, target.long()[:, None]))[:, 0]


def matrix(dims: Mapping[str, int]) -> tuple[int, ...]:
    return dims["rows"], dims["columns"]


def heads(dims: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(dims[name] for name in ("batch", "heads", "sequence", "head_dim"))


def angles(dims: Mapping[str, int], maker: Maker, precision: str) -> Operands:
    """cos and sin of (1, sequence, head_dim), both halves alike."""
    frequencies = 10000.0 ** -(torch.arange(0, dims["head_dim"], 2, device=maker.device) / dims["head_dim"])
    turned = torch.arange(dims["sequence"], device=maker.device)[:, None] * frequencies
    both = torch.cat([turned, turned], -1)[None]
    return both.cos().to(dtype_of(precision)), both.sin().to(dtype_of(precision))


def targets(dims: Mapping[str, int], maker: Maker, precision: str) -> Operands:
    return (torch.randint(dims["columns"], (dims["rows"],), device=maker.device, generator=maker.generator),)


ROWS = ("rows", "columns")
CASES = {
    case.name: case
    for case in (
        Case(
            "liger_softmax",
            "The softmax of each row.",
            ROWS,
            lambda d: (matrix(d),),
            matrix,
            softmax,
            lambda x: x.softmax(-1),
            lambda ops, x: ops("softmax")._softmax_forward(x)[0],
        ),
        Case(
            "liger_cross_entropy",
            "The cross entropy of each row of logits with one class.",
            ROWS,
            lambda d: (matrix(d),),
            lambda d: (d["rows"],),
            cross_entropy,
            lambda x, target: functional.cross_entropy(x, target, reduction="none"),
            lambda ops, x, target: ops("cross_entropy").cross_entropy_forward(x, target, None, -100, 0.0, 0.0, "none", None, False)[0],
            targets,
        ),
        Case(
            "liger_rms_norm",
            "RMSNorm of each row, with a weight.",
            ROWS,
            lambda d: (matrix(d), (d["columns"],)),
            matrix,
            rms_norm,
            lambda x, weight: functional.rms_norm(x, weight.shape, weight, EPS),
            lambda ops, x, weight: ops("rms_norm").rms_norm_forward(x, weight, EPS, 0.0, "llama", None)[0],
        ),
        Case(
            "liger_layer_norm",
            "LayerNorm of each row, with a weight and a bias.",
            ROWS,
            lambda d: (matrix(d), (d["columns"],), (d["columns"],)),
            matrix,
            layer_norm,
            lambda x, weight, bias: functional.layer_norm(x, weight.shape, weight, bias, EPS),
            lambda ops, x, weight, bias: ops("layer_norm").layer_norm_forward(x, weight, bias, EPS)[0],
        ),
        Case(
            "liger_swiglu",
            "SiLU of a matrix times another one.",
            ROWS,
            lambda d: (matrix(d), matrix(d)),
            matrix,
            swiglu,
            lambda gate, up: functional.silu(gate) * up,
            lambda ops, gate, up: ops("swiglu").swiglu_forward(gate, up)[2],
        ),
        Case(
            "liger_geglu",
            "GELU, by tanh, of a matrix times another one.",
            ROWS,
            lambda d: (matrix(d), matrix(d)),
            matrix,
            geglu,
            lambda gate, up: functional.gelu(gate, approximate="tanh") * up,
            lambda ops, gate, up: ops("geglu").geglu_forward(gate, up)[2],
        ),
        Case(
            "liger_rope",
            "Rotary positions of queries and keys; the queries are compared.",
            ("batch", "heads", "sequence", "head_dim"),
            lambda d: (heads(d), heads(d)),
            heads,
            rope,
            lambda q, k, cos, sin: q * cos + torch.cat(halves(q), -1) * sin,
            lambda ops, q, k, cos, sin: ops("rope").rope_forward(q, k, cos, sin)[0],
            angles,
        ),
    )
}


def make_inputs(point: Point, device: str | torch.device, seed: int | None) -> Inputs:
    case = CASES[point.op]
    maker = Maker(point.options["data"], device, seed)
    operands = tuple(maker.tensor(shape, point.precision) for shape in case.shapes(point.dims))
    out = torch.empty(case.out(point.dims), dtype=dtype_of(point.precision), device="meta")
    return Inputs((*operands, *case.more(point.dims, maker, point.precision)), out)


def reference(point: Point, operands: Operands) -> Tensor:
    return CASES[point.op].formula(EXACT, *(t.double() for t in operands))


def tolerance(point: Point, operands: Operands, expected: Tensor) -> Tensor:
    """Noise at every place where a kernel may round to the precision, or computes in fp32."""
    exact = [t.double() for t in operands]
    return allowed(lambda arithmetic: (CASES[point.op].formula(arithmetic, *exact),), (expected,), point.precision)[0]


def build_torch(point: Point, inputs: Inputs) -> Kernel:
    return Kernel(lambda: CASES[point.op].torch(*inputs.operands))


def build_liger(point: Point, inputs: Inputs) -> Kernel:
    def ops(module: str) -> Any:
        return import_module(f"liger_kernel.ops.{module}")

    return Kernel(lambda: CASES[point.op].liger(ops, *inputs.operands))


def refuses(point: Point, platform: Platform) -> str | None:
    return None if point.precision in FORMATS else f"Liger's kernels are used in {', '.join(FORMATS)}"


def cost(point: Point, device: DeviceKind) -> Cost:
    """Traffic alone: operations other than products are not counted."""
    case, size = CASES[point.op], PRECISIONS[point.precision].bytes
    read = size * sum(map(math.prod, case.shapes(point.dims)))
    written = size * math.prod(case.out(point.dims))
    return Cost(0, read, written, read + written)


def register() -> None:
    """Makes the ops known; a second call changes nothing."""
    for case in CASES.values():
        op = Op.define(
            "studies.liger",
            case.name,
            case.doc,
            options={"data": DATA},
            dims=case.dims,
            small={name: SMALL[name] for name in case.dims},
            cost=cost,
            impls=[
                Impl("torch", "adapters:build_torch", refuses, always),
                Impl("liger", "adapters:build_liger", refuses, always, language="triton"),
            ],
        )
        tensor_code = {role: f"studies.liger.adapters:{role}" for role in ("make_inputs", "reference", "tolerance")}
        OPS[case.name] = replace(op, **tensor_code)  # type: ignore[arg-type]
