"""Which block an elementwise kernel runs with. No torch here; nothing is tuned at run time, as in kernels/matmul/configs.py."""

from __future__ import annotations

import math
from dataclasses import dataclass

BUSY = 8  # blocks for each SM, so that the last ones to run do not idle the others


@dataclass(frozen=True)
class Config:
    """Elements a block computes, and its warps."""

    block: int
    warps: int

    def __str__(self) -> str:
        return f"{self.block} w{self.warps}"


@dataclass(frozen=True)
class Tile:
    """Rows and columns that a block quantises at once, and its warps: 32 elements a thread."""

    rows: int
    columns: int
    warps: int

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns} w{self.warps}"


def tile(share: int) -> Tile:
    """The tile for so many elements a scale: all of them in registers up to 16,384, so that they are read once, and at least 4 warps."""
    columns = min(2 ** math.ceil(math.log2(share)), 16384)
    elements = max(columns, 4096)
    return Tile(elements // columns, columns, elements // 1024)


def configs(read: int, written: int) -> tuple[Config, ...]:
    """Shipped configs for elements of so many bytes, read and written: a thread loads 32 bytes at least, two 128-bit loads in flight."""
    return Config(max(8192 // max(read, written), 4096 // read), 4), Config(2048 // read, 2)


def choose(read: int, written: int, m: int, n: int, sm_count: int) -> Config:
    """The larger block, where it still keeps every one of the GPU's SMs busy."""
    large, small = configs(read, written)
    return large if math.ceil(m * n / large.block) >= BUSY * sm_count else small
