"""Which tile a matmul runs with: a short list for each precision and a rule. No torch here.

Nothing is tuned unless a run asks for it (choice.py): a config that flips from night to night would read as a regression.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from kernels.precisions import PRECISIONS

GROUP_M = 8  # rows of tiles that run together
MIN_STEPS = 8  # of a part of k: twice the stages, so that filling the pipeline of loads is at most half of a block's time
BUSY = 7 / 8  # of the SMs that a split must give work before its tile is preferred to a smaller one


@dataclass(frozen=True)
class Config:
    """Tile sizes in elements; warps of a block; stages of the load pipeline, each a tile of A and of B in shared memory.

    resident: blocks that an SM holds at once. split: blocks that share one tile, each with its part of k; a second kernel adds their sums.
    kernel: pointer, tma or warp_specialized; the name of a pointer kernel's config leaves it out.
    """

    block_m: int
    block_n: int
    block_k: int
    warps: int
    stages: int
    resident: int = 1
    split: int = 1
    kernel: str = "pointer"

    def __str__(self) -> str:
        tile = f"{self.block_m}x{self.block_n}x{self.block_k} w{self.warps} s{self.stages}"
        named = tile if self.kernel == "pointer" else f"{self.kernel} {tile}"
        return named + (f" k{self.split}" if self.split > 1 else "")


NAME = re.compile(r"(?:(tma|warp_specialized) )?(\d+)x(\d+)x(\d+) w(\d+) s(\d+)(?: k(\d+))?")


def named(name: str) -> Config | None:
    """The config that `str` wrote so, but for `resident`; None for a name of something else."""
    found = NAME.fullmatch(name)
    if found is None:
        return None
    block_m, block_n, block_k, warps, stages = map(int, found.groups()[1:6])
    return Config(block_m, block_n, block_k, warps, stages, split=int(found[7] or 1), kernel=found[1] or "pointer")


# From the largest tile, which loads least for each FLOP, to the smallest, which spreads a small result over the most SMs.
# block_m is at least 64, the rows of Hopper's wgmma. A tensor core's tiles are 128 bytes wide along k, the widest swizzle of shared
# memory, and 4 stages of the largest take 192 of the 227 KiB; two warpgroups share its 128 × 256 fp32 sums, 128 registers a thread.
# 3 stages of 128 × 128 are 96 KiB, so that two blocks fit an SM, and one multiplies while the other stores. In 16 bits only: with half
# the warps, the layouts that tf32 and fp8 must turn in registers spill or nearly do.
# The last is for few rows (decode), which memory bounds: narrow, so that n = 4096 still makes 128 blocks, and twice as deep.
TENSOR_CORE = {
    size: (
        Config(128, 256, 128 // size, 8, 4),
        *([Config(128, 128, 64, 4, 3, resident=2)] if size == 2 else []),
        Config(128, 128, 128 // size, 8, 4),
        Config(64, 64, 128 // size, 4, 4),  # attention heads of 64
        Config(64, 32, 256 // size, 4, 4),
    )
    for size in (1, 2, 4)
}
# Where A or B is not aligned, its elements are loaded one by one (8- and 16-bit ones not even asynchronously): with an address and a
# predicate each, larger tiles than these spill (`python -m kernels inspect`).
UNALIGNED = (Config(128, 128, 32, 8, 4), Config(64, 64, 32, 4, 4))
# Block scales of fp8: a step of k is a block of 128, and a tile at most one wide, so that B's scale is one number. The products of a step
# and the sums are both in registers.
BLOCK_SCALED = (Config(128, 128, 128, 8, 4), Config(64, 64, 128, 4, 4), Config(64, 32, 128, 4, 4))
BLOCK_SCALED_UNALIGNED = (Config(64, 32, 128, 8, 3),)
# FFMA: every thread holds its operands in registers besides the sums, and k is short so that they do not spill.
FP32 = (Config(128, 128, 16, 8, 3), Config(64, 128, 16, 8, 3), Config(64, 64, 16, 4, 3), Config(64, 32, 16, 4, 4))
FP32_UNALIGNED = FP32[1:]

# Bulk copies (TMA). Half a tile of the result lies in shared memory beside the stages, so that 4 of 128 × 256 fill 224 KiB; in fp32, the
# result of tf32, 3 fill 208.
# Triton gives loads and products warps of their own only in blocks of 4 warps, to which it adds others. There the whole tile of the result
# lies beside the stages (Triton 3.6 does not compile halves), which leaves room for 3 of the large tiles, and for none of them in tf32.
BULK = {
    ("tma", size): (
        Config(128, 256, 128 // size, 8, 3 if size == 4 else 4, kernel="tma"),
        Config(128, 128, 128 // size, 8, 4, kernel="tma"),
        Config(64, 64, 128 // size, 4, 4, kernel="tma"),
    )
    for size in (1, 2, 4)
} | {
    ("warp_specialized", size): (
        *([] if size == 4 else [Config(128, 256, 128 // size, 4, 3, kernel="warp_specialized")]),
        *([] if size == 4 else [Config(256, 128, 128 // size, 4, 3, kernel="warp_specialized")]),
        Config(128, 128, 128 // size, 4, 3 if size == 4 else 4, kernel="warp_specialized"),
    )
    for size in (1, 2, 4)
}


def bulk_configs(kernel: str, precision: str, small: bool = False) -> tuple[Config, ...]:
    """The shipped configs of a kernel that copies in bulk, largest tile first. small: those whose threads have registers left for a second
    set of sums, as slow fp8 sums and block scales need it, or for the addresses of a result that is stored through pointers."""
    return tuple(c for c in BULK[kernel, PRECISIONS[precision].bytes] if not small or c.block_m * c.block_n <= 128 * 128)


def choose_bulk(kernel: str, precision: str, m: int, n: int, batch: int, sm_count: int, small: bool = False) -> Config:
    """The largest tile that still fills every SM, and of which m and n fill more than half; else the smallest. Several warp-specialised
    products at once are cut into whole tiles."""
    shipped = bulk_configs(kernel, precision, small)
    for config in shipped[:-1]:
        if kernel == "warp_specialized" and batch > 1 and (m % config.block_m or n % config.block_n):
            continue
        tiles = batch * math.ceil(m / config.block_m) * math.ceil(n / config.block_n)
        if tiles >= sm_count and 2 * m > config.block_m and 2 * n > config.block_n:
            return config
    return shipped[-1]


def configs(precision: str, aligned: bool = True, scaling: str = "tensor", slow: bool = False) -> tuple[Config, ...]:
    """The shipped configs of a precision, largest tile first."""
    if scaling == "block":
        return BLOCK_SCALED if aligned else BLOCK_SCALED_UNALIGNED
    if slow and aligned:
        return TENSOR_CORE[1][1:]  # two sets of sums in registers: those of 128 × 256 spill
    if precision == "fp32":
        return FP32 if aligned else FP32_UNALIGNED
    return TENSOR_CORE[PRECISIONS[precision].bytes] if aligned else UNALIGNED


def choose(
    precision: str, m: int, n: int, k: int, batch: int, aligned: bool, sm_count: int, scaling: str = "tensor", slow: bool = False
) -> Config:
    """The largest tile that still fills every one of the GPU's SMs, if need be with k split, and of which m and n fill more than half; else
    the smallest.

    k: size of the dim that may be split, 0 where none may be. aligned: whether A and B can be loaded 128 bits at a time. scaling, slow:
    the fp8 recipe.
    """
    shipped = configs(precision, aligned, scaling, slow)
    for config in shipped:
        tiles = batch * math.ceil(m / config.block_m) * math.ceil(n / config.block_n)
        if 2 * m <= config.block_m or 2 * n <= config.block_n:
            continue
        if tiles >= sm_count and tiles > (config.resident - 1) * sm_count:
            return config
        parts = split(config, precision, m, n, k, batch, sm_count)
        if config.resident == 1 and parts > 1 and tiles * parts >= BUSY * sm_count:
            return replace(config, split=parts)
    return replace(shipped[-1], split=split(shipped[-1], precision, m, n, k, batch, sm_count))


def split(config: Config, precision: str, m: int, n: int, k: int, batch: int, sm_count: int) -> int:
    """Parts of k, of at least MIN_STEPS steps each, that fill the SMs once, and whose partial sums, written and read in fp32, are at most
    half as many bytes as the operands."""
    tiles = batch * math.ceil(m / config.block_m) * math.ceil(n / config.block_n)
    operands = batch * (m + n) * k * PRECISIONS[precision].bytes
    partial = batch * m * n * 2 * 4
    return max(1, min(sm_count // tiles, k // config.block_k // MIN_STEPS, operands // (2 * partial)))
