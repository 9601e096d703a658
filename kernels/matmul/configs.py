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
    copied: the operands, "a", "b" or "ab", that another kernel first copies so that they are contiguous along k.
    registers: the most that a thread may have; 0 leaves the limit to ptxas.
    """

    block_m: int
    block_n: int
    block_k: int
    warps: int
    stages: int
    resident: int = 1
    split: int = 1
    kernel: str = "pointer"
    copied: str = ""
    registers: int = 0

    def __str__(self) -> str:
        tile = f"{self.block_m}x{self.block_n}x{self.block_k} w{self.warps} s{self.stages}"
        named = tile if self.kernel == "pointer" else f"{self.kernel} {tile}"
        named += f" r{self.registers}" if self.registers else ""
        return named + (f" k{self.split}" if self.split > 1 else "") + (f" copy_{self.copied}" if self.copied else "")

    @property
    def compile_options(self) -> dict[str, int]:
        """What Triton is given besides warps and stages."""
        return {"maxnreg": self.registers} if self.registers else {}


NAME = re.compile(r"(?:(tma|warp_specialized) )?(\d+)x(\d+)x(\d+) w(\d+) s(\d+)(?: r(\d+))?(?: k(\d+))?(?: copy_(ab?|b))?")


def named(name: str) -> Config | None:
    """The config that `str` wrote so, but for `resident`; None for a name of something else."""
    found = NAME.fullmatch(name)
    if found is None:
        return None
    block_m, block_n, block_k, warps, stages = map(int, found.groups()[1:6])
    split, registers = int(found[8] or 1), int(found[7] or 0)
    kernel = found[1] or "pointer"
    return Config(block_m, block_n, block_k, warps, stages, split=split, kernel=kernel, copied=found[9] or "", registers=registers)


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
# tf32 summed over three or more dims: with the larger tiles of 8 warps, ptxas lets each product end before the next one starts under
# Triton 3.6 (`python -m kernels inspect`).
TF32_MANY_DIMS = (Config(128, 128, 32, 4, 3, resident=2), *TENSOR_CORE[4][2:])
MANY_DIMS = 3  # of k
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


# Blackwell keeps sums in a memory of their own, and the code that moves them from there to the result needs more: in tf32 and fp8 shared
# memory for a whole tile of the result, and warp-specialised so many registers for addresses that they do not suffice for 128 × 128.
BLACKWELL_STAGES = {("tma", 1): 3, ("tma", 4): 2}  # of the 128 × 256 tiles
BLACKWELL_NARROW = {size: (Config(128, 64, 128 // size, 4, 3 if size == 4 else 4, kernel="warp_specialized"),) for size in (1, 2, 4)}

# ptxas guesses how many registers a thread may have. For these configs it stops at 64 to 128 and puts some values on the stack, which it
# does not once it may use all that there are. By major compute capability; no config needs this on Hopper.
MOST_REGISTERS = 255
STINTED = {
    8: ("128x128x64 w8 s4", "64x32x128 w4 s4", "64x32x64 w4 s4", "64x128x16 w8 s3"),
    10: ("64x128x16 w8 s3", "64x64x16 w4 s3", "64x32x16 w4 s4", "tma 128x128x32 w8 s4", "tma 64x64x32 w4 s4"),
}
SPILLING = {8: ("128x256x32 w8 s4",)}  # with all registers, under Triton 3.6: tf32, whose tiles lie in registers before Hopper
HOPPER = (9, 0)
# Bytes of shared memory that a block can have, by compute capability: CUDA C++ Programming Guide, table of technical specifications. Others
# are taken to have as much as Hopper.
SHARED_BYTES = {(7, 0): 98_304, (7, 5): 65_536, (8, 0): 166_912, (8, 6): 101_376, (8, 7): 166_912, (8, 9): 101_376, (12, 0): 101_376}
MOST_SHARED_BYTES = 232_448


def fitting(found: tuple[Config, ...], precision: str, capability: tuple[int, int]) -> tuple[Config, ...]:
    """The configs that fit into a block's shared memory and registers, or else the last alone; those for which ptxas guesses too few
    registers may use all."""
    size, limit = PRECISIONS[precision].bytes, SHARED_BYTES.get(capability, MOST_SHARED_BYTES)
    fit = [c for c in found if stages_bytes(c, size, capability) <= limit and str(c) not in SPILLING.get(capability[0], ())] or found[-1:]
    stinted = STINTED.get(capability[0], ())
    return tuple(replace(c, registers=MOST_REGISTERS) if str(c) in stinted else c for c in fit)


def stages_bytes(config: Config, size: int, capability: tuple[int, int]) -> int:
    """Shared memory that the stages of a block take, for elements of `size` bytes. Before Hopper the tile that is multiplied is in
    registers, which is one stage less."""
    stages = config.stages if capability >= HOPPER else config.stages - 1
    return stages * (config.block_m + config.block_n) * config.block_k * size


def bulk_configs(
    kernel: str,
    precision: str,
    small: bool = False,
    capability: tuple[int, int] = HOPPER,
    rows: bool = False,
    addresses: bool = False,
) -> tuple[Config, ...]:
    """The shipped configs of a kernel that copies in bulk, largest tile first. small: those whose threads have registers left for a second
    set of sums, as slow fp8 sums and block scales need it, or for the addresses of a result that is stored through pointers.

    rows: of products with row scales. addresses: of products with block scales, or whose result is stored through pointers.
    """
    size, blackwell = PRECISIONS[precision].bytes, capability[0] == 10
    found = BULK[kernel, size]
    if blackwell and kernel == "warp_specialized" and addresses:
        found = BLACKWELL_NARROW[size]
    elif small or (blackwell and kernel == "warp_specialized" and rows):
        found = tuple(c for c in found if c.block_m * c.block_n <= 128 * 128)
    if blackwell and (stages := BLACKWELL_STAGES.get((kernel, size))):
        found = tuple(replace(c, stages=stages) if (c.block_m, c.block_n) == (128, 256) else c for c in found)
    return fitting(found, precision, capability)


def choose_bulk(
    kernel: str,
    precision: str,
    m: int,
    n: int,
    batch: int,
    sm_count: int,
    small: bool = False,
    capability: tuple[int, int] = HOPPER,
    **case: bool,
) -> Config:
    """The largest tile that still fills every SM, and of which m and n fill more than half; else the smallest. Several warp-specialised
    products at once are cut into whole tiles. case: `rows` and `addresses` of bulk_configs."""
    shipped = bulk_configs(kernel, precision, small, capability, **case)
    for config in shipped[:-1]:
        if kernel == "warp_specialized" and batch > 1 and (m % config.block_m or n % config.block_n):
            continue
        tiles = batch * math.ceil(m / config.block_m) * math.ceil(n / config.block_n)
        if tiles >= sm_count and 2 * m > config.block_m and 2 * n > config.block_n:
            return config
    return shipped[-1]


def configs(
    precision: str,
    aligned: bool = True,
    scaling: str = "tensor",
    slow: bool = False,
    capability: tuple[int, int] = HOPPER,
    summed_dims: int = 1,
) -> tuple[Config, ...]:
    """The shipped configs of a precision on GPUs of a compute capability, largest tile first. summed_dims: of k."""
    return fitting(_configs(precision, aligned, scaling, slow, summed_dims), precision, capability)


def _configs(precision: str, aligned: bool, scaling: str, slow: bool, summed_dims: int) -> tuple[Config, ...]:
    if scaling == "block":
        return BLOCK_SCALED if aligned else BLOCK_SCALED_UNALIGNED
    if slow and aligned:
        return TENSOR_CORE[1][1:]  # two sets of sums in registers: those of 128 × 256 spill
    if precision == "fp32":
        return FP32 if aligned else FP32_UNALIGNED
    if precision == "tf32" and aligned and summed_dims >= MANY_DIMS:
        return TF32_MANY_DIMS
    return TENSOR_CORE[PRECISIONS[precision].bytes] if aligned else UNALIGNED


def choose(
    precision: str,
    m: int,
    n: int,
    k: int,
    batch: int,
    aligned: bool,
    sm_count: int,
    scaling: str = "tensor",
    slow: bool = False,
    capability: tuple[int, int] = HOPPER,
    summed_dims: int = 1,
) -> Config:
    """The largest tile that still fills every one of the GPU's SMs, if need be with k split, and of which m and n fill more than half; else
    the smallest.

    k: size of the dim that may be split, 0 where none may be. aligned: whether A and B can be loaded 128 bits at a time. scaling, slow:
    the fp8 recipe. summed_dims: of k.
    """
    shipped = configs(precision, aligned, scaling, slow, capability, summed_dims)
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
