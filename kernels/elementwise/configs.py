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


def configs(read: int, written: int) -> tuple[Config, ...]:
    """Shipped configs for elements of so many bytes, read and written: a thread loads 32 bytes at least, two 128-bit loads in flight."""
    return Config(max(8192 // max(read, written), 4096 // read), 4), Config(2048 // read, 2)


def choose(read: int, written: int, m: int, n: int, sm_count: int) -> Config:
    """The larger block, where it still keeps every one of the GPU's SMs busy."""
    large, small = configs(read, written)
    return large if math.ceil(m * n / large.block) >= BUSY * sm_count else small
