"""Steps of a path that no matrix unit helps: sums and permutations of one operand, pointwise products, dot products.

OUT[rows] = Σ_k A[rows, k] · B[rows, k], with any number of dims in rows and k, accumulated in fp32; without k nothing is summed, and
without B A is not multiplied. Memory bounds them, so a block is as wide as the contiguous elements of A allow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl

from kernels.compilation import INTERPRETED, Compilation, describe, sm_count_of
from kernels.matmul.pointer_kernels import advance, count, offsets, wrapped, zeros
from kernels.matmul.product import ALIGNMENT, Dim, Product, size_of
from kernels.matmul.triton_impl import steps

TILE_BYTES = 8192  # of A that a block loads at a time: four 128-bit loads a thread
ROW_BYTES = 2048  # one 128-bit load a thread
LINE_BYTES = 128  # of the L2: a shorter run of rows would fetch what it does not use
BLOCKS_PER_SM = 4  # so that 32 KiB of loads are in flight on each


@triton.jit
def reduce_kernel(
    out: tl.tensor,
    a: tl.tensor,
    b: tl.tensor,  # or None
    rows: tl.tuple,  # sizes
    k: tl.tuple,
    rows_out: tl.tuple,  # strides
    rows_a: tl.tuple,
    rows_b: tl.tuple,
    k_a: tl.tuple,
    k_b: tl.tuple,
    steps_a: tl.tuple,  # as in matmul_kernel
    steps_b: tl.tuple,
    ROWS: tl.constexpr,
    BLOCK_K: tl.constexpr,
    WIDE: tl.constexpr,
    EVEN_K: tl.constexpr,
    LONG: tl.constexpr,
) -> None:
    """out = Σ_k a · b for each index of the rows."""
    total = count(rows)
    last: tl.constexpr = len(k) - 1
    start = tl.program_id(0) * ROWS
    if LONG:
        start = start.to(tl.int64)
    row = wrapped(start, total, ROWS, WIDE, LONG)
    range_k = tl.arange(0, BLOCK_K)
    index_k = range_k.to(tl.int64) if LONG else range_k
    a_tile = a + (offsets(row, rows, rows_a, WIDE)[:, None] + index_k[None, :] * k_a[last])
    if b is not None:
        b_tile = b + (offsets(row, rows, rows_b, WIDE)[:, None] + index_k[None, :] * k_b[last])
    loops = tl.cdiv(k[last], BLOCK_K)
    for i in tl.static_range(0, last):
        loops *= k[i]
    done = 0
    digits = zeros(k)
    sums = tl.zeros((ROWS, BLOCK_K), dtype=tl.float32)
    for _ in range(0, loops):
        if EVEN_K:
            x = tl.load(a_tile).to(tl.float32)
        else:
            inside = (range_k < k[last] - done)[None, :]
            x = tl.load(a_tile, mask=inside, other=0.0).to(tl.float32)
        if b is not None:
            if EVEN_K:
                x *= tl.load(b_tile).to(tl.float32)
            else:
                x *= tl.load(b_tile, mask=inside, other=0.0).to(tl.float32)
        sums += x
        if last == 0:
            done += BLOCK_K
            move_a = steps_a[0]
            move_b = steps_b[0]
        else:
            done, digits, move_a, move_b = advance(k, done, digits, steps_a, steps_b, BLOCK_K)
        a_tile += move_a
        if b is not None:
            b_tile += move_b
    index = start + tl.arange(0, ROWS)
    tl.store(out + offsets(index, rows, rows_out, WIDE), tl.sum(sums, axis=1).to(out.dtype.element_ty), mask=index < total)


@dataclass(frozen=True)
class Config:
    """Rows and elements along k that a block takes at a time, and its warps."""

    rows: int
    block_k: int
    warps: int = 4

    def __str__(self) -> str:
        return f"{self.rows}x{self.block_k} w{self.warps}"


def choose(p: Product, size: int, sm_count: int) -> Config:
    """Long along k where A is contiguous there, else long along the rows, but with several blocks for each SM.

    p: the rows as m. size: bytes of an element.
    """
    tile = TILE_BYTES // size
    k = p.k[-1] if p.k else Dim(1)
    if k.a == 1:
        block_k = min(triton.next_power_of_2(k.size), ROW_BYTES // size)
        return Config(tile // block_k, block_k)
    if not p.k:
        return Config(tile, 1)
    rows = ROW_BYTES // size
    while rows * size > LINE_BYTES and size_of(p.m) < rows * sm_count * BLOCKS_PER_SM:
        rows //= 2
    return Config(rows, tile // rows)


def bind(
    p: Product, a: torch.Tensor, b: torch.Tensor | None, out: torch.Tensor, config: Config, compiled: list[Any]
) -> Callable[[], torch.Tensor]:
    """A call that writes to `out` and returns it, and leaves in `compiled` the kernel that ran. p: the rows as m."""
    # The interpreter truncates to bf16: there the kernel writes fp32, torch rounds.
    target = torch.empty(out.shape, device=out.device) if INTERPRETED else out
    named, settings = call(p, a, b, target, config)
    launch = reduce_kernel[(math.ceil(size_of(p.m) / config.rows),)]

    def run() -> torch.Tensor:
        compiled[:] = [launch(**named, **settings, num_warps=config.warps)]
        return out.copy_(target) if INTERPRETED else out

    return run


def call(p: Product, a: torch.Tensor, b: torch.Tensor | None, out: torch.Tensor, config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments and compile-time arguments."""
    rows, k = p.m or (Dim(1),), p.k or (Dim(1),)
    sizes = tuple(d.size for d in k)
    k_a, k_b = tuple(d.a for d in k), tuple(d.b for d in k)
    named: dict[str, Any] = {"out": out, "a": a, "b": b, "rows": tuple(d.size for d in rows), "k": sizes}
    named |= {"rows_out": tuple(d.c for d in rows), "rows_a": tuple(d.a for d in rows), "rows_b": tuple(d.b for d in rows)}
    named |= {"k_a": k_a, "k_b": k_b, "steps_a": steps(sizes, k_a, config.block_k), "steps_b": steps(sizes, k_b, config.block_k)}
    furthest = [sum((d.size - 1) * getattr(d, t) for d in (*rows, *k)) for t in ("a", "b", "c")]
    settings = {
        "ROWS": config.rows,
        "BLOCK_K": config.block_k,
        "WIDE": rows[-1].size % ALIGNMENT == 0,
        "EVEN_K": k[-1].size % config.block_k == 0,
        "LONG": max(*furthest, size_of(rows) + config.rows) >= 2**31,
    }
    return named, settings


def describe_reduction(
    op: str, precision: str, variant: str, p: Product, a: torch.Tensor, b: torch.Tensor | None, out: torch.Tensor
) -> Compilation:
    """What `bind` would compile, with the config that the shape asks for."""
    config = choose(p, a.element_size(), sm_count_of(out))
    named, settings = call(p, a, b, out, config)
    wide = p.vectors if b is not None else p.wide_a or (p.k[-1].a == 1 if p.k else False)
    return describe(reduce_kernel, named, settings, op, precision, variant, str(config), config.warps, 3, "wide" if wide else "any")
