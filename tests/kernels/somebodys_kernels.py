"""Triton kernels as somebody else writes them, for tests of what records and compiles launches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl

from kernels.op import Inputs, Kernel, Point


@triton.jit
def twice(x: tl.tensor) -> tl.tensor:
    return x * 2


@triton.autotune([triton.Config({"B": 128}, num_warps=4), triton.Config({"B": 256}, num_warps=8, num_stages=2)], key=["n"])
@triton.heuristics({"EVEN": lambda arguments: arguments["n"] % 16 == 0})
@triton.jit
def scale_kernel(
    x: tl.tensor, out: tl.tensor, factor: tl.tensor, n: tl.tensor, step: tl.tensor, F: tl.constexpr, B: tl.constexpr, EVEN: tl.constexpr
) -> None:
    i = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(out + i * step, F(tl.load(x + i * step, mask=i < n)) * factor, mask=i < n)


def scale(x: torch.Tensor, factor: float) -> torch.Tensor:
    out = torch.empty_like(x)
    n = x.numel()
    scale_kernel[lambda meta: (triton.cdiv(n, meta["B"]),)](x, out, factor, n, 1, twice)
    return out


@triton.jit
def product_kernel(a: tl.tensor, b: tl.tensor, c: tl.tensor, k: tl.tensor, B: tl.constexpr, PRECISION: tl.constexpr) -> None:
    rows = tl.arange(0, B)
    sums = tl.zeros((B, B), tl.float32)
    for start in range(0, k, B):
        x = tl.load(a + rows[:, None] * k + (start + rows)[None, :])
        y = tl.load(b + (start + rows)[:, None] * B + rows[None, :])
        sums = tl.dot(x, y, sums, input_precision=PRECISION)
    tl.store(c + rows[:, None] * B + rows[None, :], sums)


def product(a: torch.Tensor, b: torch.Tensor, precision: str = "tf32", **options: Any) -> torch.Tensor:
    c = torch.empty(a.shape[0], b.shape[1], dtype=a.dtype)
    product_kernel[(1,)](a, b, c, a.shape[1], a.shape[0], precision, **options)
    return c


@triton.jit
def matmul_kernel(
    a: tl.tensor, b: tl.tensor, c: tl.tensor, factor: tl.tensor, m: tl.tensor, n: tl.tensor, k: tl.tensor, B: tl.constexpr
) -> None:
    rows = tl.program_id(0) * B + tl.arange(0, B)
    columns = tl.program_id(1) * B + tl.arange(0, B)
    sums = tl.zeros((B, B), tl.float32)
    for start in range(0, k, B):
        inner = start + tl.arange(0, B)
        x = tl.load(a + rows[:, None] * k + inner[None, :], mask=(rows[:, None] < m) & (inner[None, :] < k), other=0.0)
        y = tl.load(b + inner[:, None] * n + columns[None, :], mask=(inner[:, None] < k) & (columns[None, :] < n), other=0.0)
        sums = tl.dot(x, y, sums)
    result = (sums * factor).to(c.dtype.element_ty)
    tl.store(c + rows[:, None] * n + columns[None, :], result, mask=(rows[:, None] < m) & (columns[None, :] < n))


def build_matmul(point: Point, inputs: Inputs) -> Kernel:
    a, b, *scales = inputs.operands
    c = inputs.out
    factor = math.prod(scale.item() for scale in scales) * 1.0
    grid = (triton.cdiv(c.shape[0], 32), triton.cdiv(c.shape[1], 32))

    def run() -> torch.Tensor:
        matmul_kernel[grid](a.contiguous(), b.contiguous(), c, factor, *c.shape, a.shape[1], 32)
        return c

    return Kernel(run)


@triton.jit
def strided_kernel(tensors: tl.tensor, strides: tl.tensor, B: tl.constexpr) -> None:
    i = tl.arange(0, B)
    tl.store(tensors[1] + i * strides[1], tl.load(tensors[0] + i * strides[0]))


SIZE = 32


@triton.jit
def uncompilable_kernel(x: tl.tensor) -> None:
    tl.store(x + tl.arange(0, SIZE), 0)  # the interpreter reads the global variable; the compiler refuses it


def nested() -> Callable[[torch.Tensor], None]:
    @triton.jit
    def inner_kernel(x: tl.tensor, B: tl.constexpr) -> None:
        tl.store(x + tl.arange(0, B), 0.0)

    return lambda x: inner_kernel[(1,)](x, 16)


@triton.jit
def rebound_kernel(x: tl.tensor) -> None:
    tl.store(x, 0.0)


first_rebound = rebound_kernel


@triton.jit
def rebound_kernel(x: tl.tensor) -> None:  # as a file that is edited in a notebook holds two
    tl.store(x, 1.0)
