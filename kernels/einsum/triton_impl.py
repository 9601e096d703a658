"""einsum in Triton: each step of the path is one launch of matmul's strided, batched kernel. Nothing is copied or transposed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch

from kernels.compilation import Compilation, sm_count_of
from kernels.einsum.data import make_inputs
from kernels.einsum.grouping import Grouping, Run, Strides, group, size_of
from kernels.einsum.spec import OP, Step, groupings, path
from kernels.matmul import triton_impl as matmul
from kernels.matmul.configs import Config, choose
from kernels.op import Dims, Inputs, Kernel, Point
from kernels.precisions import PRECISIONS
from kernels.tensors import dtype_of


def build(point: Point, inputs: Inputs) -> Kernel:
    """The contraction into `inputs.out`; intermediates, in the precision, are allocated here, once.

    The path and the configs are those of the point's dims, the shapes those of the tensors.
    """
    sm_count = sm_count_of(inputs.out)
    chosen = [choose_for(point, step, grouping, sm_count) for step, grouping in zip(path(point), groupings(point), strict=True)]
    of_step: list[list[Any]] = [[] for _ in chosen]
    launches = [
        matmul.bind(a, b, out=out, precision=point.precision, config=config, compiled=ran)
        for (a, b, out), config, ran in zip(products(point, inputs), chosen, of_step, strict=True)
    ]
    compiled: list[Any] = []

    def run() -> torch.Tensor:
        for launch in launches:
            launch()
        compiled[:] = chain.from_iterable(of_step)
        return inputs.out

    return Kernel(run, " + ".join(map(str, chosen)), compiled=compiled)


def choose_for(point: Point, step: Step, grouping: Grouping, sm_count: int) -> Config:
    """The config of one step on a GPU with so many SMs, from the point's dims alone."""
    m, n = size_of(grouping.m, point.dims), size_of(grouping.n, point.dims)
    batch = math.prod(size_of(run, point.dims) for run in grouping.leading)
    tiled = {*grouping.m, *grouping.n, *(name for run in grouping.k for name in run)}
    # What is contiguous along a leading dim only is loaded element by element.
    contiguous = tuple(point.dims[term[-1]] if term[-1] in tiled else 1 for term in step.terms)
    return choose(point.precision, m, n, batch, contiguous, sm_count)


def products(point: Point, inputs: Inputs) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Views a (…, m, k), b (…, k, n) and out (…, m, n) of each step's tensors, with the same leading dims."""
    live = list(inputs.operands)
    steps = path(point)
    for step in steps:
        a, b = (live[i] for i in step.positions)
        dims = {name: size for term, t in zip(step.terms, (a, b), strict=True) for name, size in zip(term, t.shape, strict=True)}
        shape = [dims[name] for name in step.output]
        out = inputs.out if step is steps[-1] else torch.empty(shape, device=a.device, dtype=result_dtype(point))
        yield views(step, dims, (a, b, out))
        live = step.after(live, out)


def result_dtype(point: Point) -> torch.dtype:
    """Of a product of the point's operands."""
    return dtype_of(PRECISIONS[point.precision].matmul_out)


def views(step: Step, dims: Dims, tensors: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One step's tensors as a matmul's, by strides. Raises ValueError where that would need a copy."""
    names = (*step.terms, step.output)
    strides = [dict(zip(held, t.stride(), strict=True)) for held, t in zip(names, tensors, strict=True)]
    grouping = group(step.terms, step.output, dims, strides)
    if grouping.unsupported:
        raise ValueError(grouping.unsupported)
    (k,) = grouping.k or ((),)
    pairs = ((grouping.m, k), (k, grouping.n), (grouping.m, grouping.n))
    a, b, out = (view(t, s, (*grouping.leading, *pair), dims) for t, s, pair in zip(tensors, strides, pairs, strict=True))
    return a, b, out


def view(tensor: torch.Tensor, strides: Strides, runs: tuple[Run, ...], dims: Dims) -> torch.Tensor:
    """`tensor` with each run as one dim: its innermost name's stride, or 0 where the tensor does not hold it."""
    sizes = [size_of(run, dims) for run in runs]
    return tensor.as_strided(sizes, [strides.get(run[-1], 0) if run else 0 for run in runs])


# What the matmul op's own compilations do not hold: two strided leading dims, and operands contiguous along neither m nor k.
CLASSES = {
    "scores": ("b q h d, b k h d -> b h q k", {"b": 8, "q": 1024, "k": 1024, "h": 32, "d": 128}),
    "values": ("b h q k, b k h d -> b q h d", {"b": 8, "q": 1024, "k": 1024, "h": 32, "d": 128}),
    "innermost_batch": ("m k b, k n b -> m n b", {"m": 1024, "n": 1024, "k": 1024, "b": 16}),
}


def compilations() -> Iterator[Compilation]:
    """The launches that attention's two contractions and a batch that is innermost make, in every tensor-core width."""
    for precision in ("fp32", "tf32", "bf16", "fp8_e4m3"):
        for variant, (equation, dims) in CLASSES.items():
            point = OP.point("triton", precision, dims, {"equation": equation})
            (step,), (grouping,) = path(point), groupings(point)
            ((a, b, out),) = products(point, make_inputs(point, "meta", None))
            config = choose_for(point, step, grouping, sm_count_of(out))
            yield matmul.describe_product(OP.name, precision, config, variant, a, b, out=out)
