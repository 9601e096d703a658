"""Kernels that look unusual and are right: what checks must let pass."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch

from kernels.op import Inputs, Kernel, Point
from kernels.optimizer.data import group
from kernels.optimizer.spec import LR

_pool = ThreadPoolExecutor(2)
_workspaces: dict[tuple[int, ...], torch.Tensor] = {}


def writes_to_out(point: Point, inputs: Inputs) -> Kernel:
    a, b = inputs.operands
    return Kernel(lambda: torch.matmul(a, b, out=inputs.out))


def allocates(point: Point, inputs: Inputs) -> Kernel:
    a, b = inputs.operands
    return Kernel(lambda: a @ b)


def not_contiguous(point: Point, inputs: Inputs) -> Kernel:
    a, b = inputs.operands
    return Kernel(lambda: (b.mT @ a.mT).mT)


def joins_threads(point: Point, inputs: Inputs) -> Kernel:
    """A pool's threads stay alive between calls, and have finished when a call returns."""
    a, b = inputs.operands
    half = point.dims["m"] // 2

    def run() -> torch.Tensor:
        jobs = [_pool.submit(lambda rows=rows: torch.matmul(a[rows], b, out=inputs.out[rows])) for rows in (slice(half), slice(half, None))]
        for job in jobs:
            job.result()
        return inputs.out

    return Kernel(run)


def cached_workspace(point: Point, inputs: Inputs) -> Kernel:
    """Memory that is kept between calls and points; its values are not."""
    a, b = inputs.operands

    def run() -> torch.Tensor:
        space = _workspaces.setdefault(tuple(b.mT.shape), torch.empty(b.mT.shape))
        space.copy_(b.mT)
        return torch.matmul(a, space.mT, out=inputs.out)

    return Kernel(run)


@lru_cache
def block(m: int) -> int:
    return max(1, m // 3)


def cached_config(point: Point, inputs: Inputs) -> Kernel:
    a, b = inputs.operands

    def run() -> torch.Tensor:
        step = block(a.shape[0])
        for start in range(0, a.shape[0], step):
            torch.matmul(a[start : start + step], b, out=inputs.out[start : start + step])
        return inputs.out

    return Kernel(run, config=f"rows {block(point.dims['m'])}")


def transforms_in_the_call(point: Point, inputs: Inputs) -> Kernel:
    a, b = inputs.operands
    return Kernel(lambda: torch.matmul(a, b.t().contiguous().t(), out=inputs.out))


def other_order(point: Point, inputs: Inputs) -> Kernel:
    """Sums over k in pieces, in fp32."""
    a, b = inputs.operands
    return Kernel(lambda: sum(x @ y for x, y in zip(a.split(32, 1), b.split(32, 0), strict=True)))


def settings_for_the_call(point: Point, inputs: Inputs) -> Kernel:
    """A setting that is changed for the call alone."""
    a, b = inputs.operands

    def run() -> torch.Tensor:
        with torch.inference_mode(False), torch.no_grad():
            return torch.matmul(a, b, out=inputs.out)

    return Kernel(run)


def wide_accumulator(point: Point, inputs: Inputs) -> Kernel:
    """bf16 operands, fp32 sums, one rounding."""
    a, b = inputs.operands
    return Kernel(lambda: inputs.out.copy_(a.float() @ b.float()))


def updates_in_place(point: Point, inputs: Inputs) -> Kernel:
    """A step of SGD."""
    found = group(point, inputs.operands)

    def run() -> tuple[torch.Tensor, ...]:
        for weight, gradient in zip(found.weights, found.gradients, strict=True):
            weight.add_(gradient, alpha=-LR)
        return inputs.out

    return Kernel(run)


def view(point: Point, inputs: Inputs) -> Kernel:
    return Kernel(inputs.operands[0].t)
