"""einsum in Triton: each step of the path is one launch, whatever its dims. Nothing is copied or transposed.

A contraction of two operands is matmul's strided product. What no matrix unit helps (sums and permutations of one operand, pointwise, outer
and dot products) is a reduction, which without summed dims is an elementwise kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch

from kernels.compilation import Compilation, platform_of, sm_count_of
from kernels.einsum import reduction
from kernels.einsum.data import make_inputs
from kernels.einsum.grouping import Strides, group, is_product
from kernels.einsum.grouping import reduction as reduce_group
from kernels.einsum.spec import OP, Step, expand, path, stored_shapes
from kernels.matmul import triton_impl as matmul
from kernels.matmul.choice import HOPPER
from kernels.matmul.product import Product, row_major
from kernels.op import Dims, Inputs, Kernel, Point
from kernels.precisions import PRECISIONS
from kernels.support import Platform
from kernels.tensors import dtype_of


@dataclass(frozen=True)
class Launch:
    """A step with the strides of its operands and its result: `kind` is product or reduction."""

    kind: str
    product: Product


def launch_of(step: Step, dims: Dims, strides: tuple[Strides, ...]) -> Launch:
    """What computes a step."""
    if is_product(step.terms, step.output, dims):
        return Launch("product", group(step.terms, step.output, dims, strides))
    return Launch("reduction", reduce_group(step.terms, step.output, dims, strides))


def launches(point: Point) -> list[Launch]:
    """Each step of the path, from the strides of row-major operands and intermediates."""
    return [launch_of(step, point.dims, strides) for step, strides in strided(point)]


def strided(point: Point) -> Iterator[tuple[Step, tuple[Strides, ...]]]:
    """Each step of the path with the strides of its operands and of its result."""
    terms = zip(expand(point).terms, map(row_major, stored_shapes(point)), strict=True)
    live = [dict(zip(term, strides, strict=True)) for term, strides in terms]
    for step in path(point):
        result = dict(zip(step.output, row_major(point.dims[name] for name in step.output), strict=True))
        yield step, (*(live[i] for i in step.positions), result)
        live = step.after(live, result)


def config_of(launch: Launch, precision: str, sm_count: int, platform: Platform = HOPPER) -> Any:
    """The config of one step on a GPU with so many SMs."""
    if launch.kind == "product":
        return matmul.choose_product(launch.product, precision, sm_count, capability=platform.capability)
    return reduction.choose(launch.product, PRECISIONS[precision].bytes, sm_count)


def build(point: Point, inputs: Inputs) -> Kernel:
    """The contraction into `inputs.out`; intermediates, in the precision, are allocated here, once.

    The path and the configs are those of the point's dims, the shapes those of the tensors.
    """
    sm_count, platform = sm_count_of(inputs.out), platform_of(inputs.out)
    chosen = [config_of(launch, point.precision, sm_count, platform) for launch in launches(point)]
    of_step: list[list[Any]] = [[] for _ in chosen]
    runs = [
        bind(launch, tensors, point.precision, config, ran)
        for (launch, tensors), config, ran in zip(bound(point, inputs), chosen, of_step, strict=True)
    ]
    compiled: list[Any] = []

    def run() -> torch.Tensor:
        for step in runs:
            step()
        compiled[:] = chain.from_iterable(of_step)
        return inputs.out

    return Kernel(run, " + ".join(map(str, chosen)), compiled=compiled)


def bound(point: Point, inputs: Inputs) -> Iterator[tuple[Launch, tuple[torch.Tensor, ...]]]:
    """Each step's launch as the tensors have it, which may be smaller than the point, and its operands and result."""
    live = list(inputs.operands)
    steps = path(point)
    kinds = [launch.kind for launch in launches(point)]
    for step, kind in zip(steps, kinds, strict=True):
        operands = [live[i] for i in step.positions]
        dims = {name: size for term, t in zip(step.terms, operands, strict=True) for name, size in zip(term, t.shape, strict=True)}
        shape = [dims[name] for name in step.output]
        out = inputs.out if step is steps[-1] else torch.empty(shape, device=inputs.out.device, dtype=result_dtype(point))
        tensors = (*operands, out)
        strides = tuple(dict(zip(held, t.stride(), strict=True)) for held, t in zip((*step.terms, step.output), tensors, strict=True))
        grouped = group if kind == "product" else reduce_group
        yield Launch(kind, grouped(step.terms, step.output, dims, strides)), tensors
        live = step.after(live, out)


def bind(launch: Launch, tensors: tuple[torch.Tensor, ...], precision: str, config: Any, compiled: list[Any]) -> Callable[[], torch.Tensor]:
    """A call that computes one step into the last of the tensors."""
    *operands, out = tensors
    if launch.kind == "product":
        return matmul.bind(launch.product, *operands, out=out, precision=precision, config=config, compiled=compiled)
    return reduction.bind(launch.product, operands[0], operands[1] if operands[1:] else None, out, config, compiled)


def result_dtype(point: Point) -> torch.dtype:
    """Of a product of the point's operands."""
    return dtype_of(PRECISIONS[point.precision].matmul_out)


# What the matmul op's own compilations do not hold: several dims in a group, and operands that are contiguous along neither m nor k.
CLASSES = {
    "scores": ("b q h d, b k h d -> b h q k", {"b": 8, "q": 1024, "k": 1024, "h": 32, "d": 128}),
    "values": ("b h q k, b k h d -> b q h d", {"b": 8, "q": 1024, "k": 1024, "h": 32, "d": 128}),
    "grouped_query": ("b q g h d, b k g d -> b g h q k", {"b": 8, "q": 1024, "k": 1024, "g": 8, "h": 4, "d": 128}),
    "output_projection": ("b h s d, h d e -> b s e", {"b": 8, "h": 32, "s": 1024, "d": 128, "e": 4096}),
    "three_dims_a_group": (
        "p b q k r l c e, s b k t l u c e -> b s p c t q u r",
        {"p": 16, "q": 16, "r": 16, "b": 2, "c": 2, "k": 8, "l": 8, "e": 64, "s": 16, "t": 16, "u": 16},
    ),
    "innermost_batch": ("m k b, k n b -> m n b", {"m": 1024, "n": 1024, "k": 1024, "b": 16}),
}
REDUCTIONS = {
    "row_sum": ("i j -> i", {"i": 4096, "j": 4096}),
    "column_sum": ("i j -> j", {"i": 4096, "j": 4096}),
    "dot": ("b i, b i -> b", {"b": 4096, "i": 4096}),
    "pointwise": ("i j, i j -> i j", {"i": 4096, "j": 4096}),
    "outer": ("i, j -> i j", {"i": 4096, "j": 4096}),
    "sum_of_middle": ("b s d -> b d", {"b": 64, "s": 2048, "d": 1024}),
    "heads_first": ("b s h d -> b h s d", {"b": 4, "s": 4096, "h": 32, "d": 128}),
    "permutation": ("i j k -> k i j", {"i": 64, "j": 128, "k": 256}),
}


def compilations() -> Iterator[Compilation]:
    """The launches that attention's contractions and a batch that is innermost make, in every tensor-core width; the reductions in bf16."""
    for precision in ("fp32", "tf32", "bf16", "fp8_e4m3"):
        for variant, (equation, dims) in CLASSES.items():
            point = OP.point("triton", precision, dims, {"equation": equation})
            ((launch, (a, b, out)),) = bound(point, make_inputs(point, "meta", None))
            config = config_of(launch, precision, sm_count_of(out), platform_of(out))
            yield matmul.describe_product(OP.name, precision, config, variant, launch.product, a, b, out=out)
    for variant, (equation, dims) in REDUCTIONS.items():
        point = OP.point("triton", "bf16", dims, {"equation": equation})
        ((launch, (*operands, out)),) = bound(point, make_inputs(point, "meta", None))
        second = operands[1] if operands[1:] else None
        yield reduction.describe_reduction(OP.name, "bf16", variant, launch.product, operands[0], second, out)
