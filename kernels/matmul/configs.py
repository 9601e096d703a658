"""Which tile a matmul runs with: a short list for each precision and a rule. No torch here.

Nothing is tuned at run time: a config that flips from night to night would read as a regression.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kernels.precisions import PRECISIONS

ALIGNMENT = 16  # elements: what Triton asks of a stride before it loads vectors
GROUP_M = 8  # rows of tiles that run together


@dataclass(frozen=True)
class Config:
    """Tile sizes in elements; warps of a block; stages of the load pipeline, each a tile of A and of B in shared memory."""

    block_m: int
    block_n: int
    block_k: int
    warps: int
    stages: int

    def __str__(self) -> str:
        return f"{self.block_m}x{self.block_n}x{self.block_k} w{self.warps} s{self.stages}"


# From the largest tile, which loads least for each FLOP, to the smallest, which spreads a small result over the most SMs.
# block_m is at least 64, the rows of Hopper's wgmma. A tensor core's tiles are 128 bytes wide along k, the widest swizzle of shared
# memory, and 4 stages of the largest take 192 of the 227 KiB; two warpgroups share its 128 × 256 fp32 sums, 128 registers a thread.
# The last is for few rows (decode), which memory bounds: narrow, so that n = 4096 still makes 128 blocks, and twice as deep.
TENSOR_CORE = {
    size: (
        Config(128, 256, 128 // size, 8, 4),
        Config(128, 128, 128 // size, 8, 4),
        Config(64, 64, 128 // size, 4, 4),  # attention heads of 64
        Config(64, 32, 256 // size, 4, 4),
    )
    for size in (1, 2, 4)
}
# Where A or B is not aligned, its elements are loaded one by one (8- and 16-bit ones not even asynchronously): with an address and a
# predicate each, larger tiles than these spill (`python -m kernels inspect`).
UNALIGNED = (Config(128, 128, 32, 8, 4), Config(64, 64, 32, 4, 4))
# FFMA: every thread holds its operands in registers besides the sums, and k is short so that they do not spill.
FP32 = (Config(128, 128, 16, 8, 3), Config(64, 128, 16, 8, 3), Config(64, 64, 16, 4, 3), Config(64, 32, 32, 4, 3))
FP32_UNALIGNED = FP32[1:]


def configs(precision: str, aligned: bool = True) -> tuple[Config, ...]:
    """The shipped configs of a precision, largest tile first."""
    if precision == "fp32":
        return FP32 if aligned else FP32_UNALIGNED
    return TENSOR_CORE[PRECISIONS[precision].bytes] if aligned else UNALIGNED


def choose(precision: str, m: int, n: int, batch: int, contiguous: tuple[int, ...], sm_count: int) -> Config:
    """The largest tile that still fills every one of the GPU's SMs, and of which m and n fill more than half; else the smallest.

    contiguous: sizes of the dims that are contiguous in A and in B; unless both are multiples of 16, Triton loads element by element.
    """
    shipped = configs(precision, aligned=all(size % ALIGNMENT == 0 for size in contiguous))
    for config in shipped:
        tiles = batch * math.ceil(m / config.block_m) * math.ceil(n / config.block_n)
        if tiles >= sm_count and 2 * m > config.block_m and 2 * n > config.block_n:
            return config
    return shipped[-1]
