"""Copies an operand so that it is contiguous along k: what Hopper's matrix units read tf32 and fp8 from, without turning each tile first.

The elements are moved as integers of their size: no number is made of the bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl

from kernels.compilation import Compilation, describe

BITS = {1: torch.int8, 4: torch.int32}  # fp8 and tf32
WARPS = 4


@triton.jit
def along_k_kernel(
    out: tl.tensor,  # (lead, rows, k), contiguous
    x: tl.tensor,  # (lead, rows, k), contiguous along the rows
    rows: tl.tensor,
    k: tl.tensor,
    x_lead: tl.tensor,  # elements from one matrix to the next
    x_k: tl.tensor,  # and from one step of k to the next
    SIDE: tl.constexpr,
    LONG: tl.constexpr,
) -> None:
    """out = x, a tile of SIDE × SIDE a block. The tile is turned in shared memory, so that loads and stores are both of whole lines."""
    tiles_k = tl.cdiv(k, SIDE)
    tiles = tl.cdiv(rows, SIDE) * tiles_k
    lead = (tl.program_id(0) // tiles).to(tl.int64)
    tile = tl.program_id(0) % tiles
    row = tile // tiles_k * SIDE + tl.arange(0, SIDE)
    step = tile % tiles_k * SIDE + tl.arange(0, SIDE)
    if LONG:  # some address in a matrix is 2³¹ elements away or more
        row = row.to(tl.int64)
        step = step.to(tl.int64)
    inside = (row < rows)[:, None] & (step < k)[None, :]
    value = tl.load(x + lead * x_lead + row[:, None] + step[None, :] * x_k, mask=inside)
    tl.store(out + lead * rows * k + row[:, None] * k + step[None, :], value, mask=inside)


def copied(operand: torch.Tensor) -> torch.Tensor:
    """Memory for the copy of an operand (…, rows, k)."""
    return torch.empty(operand.shape, dtype=operand.dtype, device=operand.device)


def bind(operand: torch.Tensor, target: torch.Tensor) -> Callable[[], Any]:
    """A call that copies an operand (…, rows, k), contiguous along the rows, to `target`, contiguous along k, and returns the kernel that
    ran."""
    named, settings = call(operand, target)
    blocks = math.ceil(named["rows"] / settings["SIDE"]) * math.ceil(named["k"] / settings["SIDE"]) * math.prod(operand.shape[:-2])
    launch = along_k_kernel[(blocks,)]
    return lambda: launch(**named, **settings, num_warps=WARPS)


def call(operand: torch.Tensor, target: torch.Tensor) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments and compile-time arguments. A thread moves 128 bits at a time, along the rows and along k."""
    bits = BITS[operand.element_size()]
    *_, rows, k = operand.shape
    x = operand.mT.view(math.prod(operand.shape[:-2]), k, rows)  # as it is stored
    named = {"out": target.view(bits), "x": x.view(bits), "rows": rows, "k": k, "x_lead": x.stride(0), "x_k": x.stride(1)}
    side = 128 if operand.element_size() == 1 else 64
    furthest = (rows + side) + (k + side) * x.stride(1)
    return named, {"SIDE": side, "LONG": max(furthest, (rows + side) * k) >= 2**31}


def describe_copy(operand: torch.Tensor, op: str, precision: str, variant: str) -> Compilation:
    """What `bind` would compile."""
    named, settings = call(operand, copied(operand))
    side = settings["SIDE"]
    return describe(along_k_kernel, named, settings, op, precision, variant, f"{side}x{side} w{WARPS}", WARPS, 1, "wide")
