"""Which tile of the result a block computes: shared by the matmul kernels."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def tile_at(
    index: tl.tensor, tiles_m: tl.tensor, tiles_n: tl.tensor, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, GROUP_M: tl.constexpr
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Leading index, first row and first column of a tile: GROUP_M rows of tiles run together, so that their blocks share A's rows and B's
    columns in the L2."""
    lead = index // (tiles_m * tiles_n)
    tile = index % (tiles_m * tiles_n)
    per_group = GROUP_M * tiles_n
    first = tile // per_group * GROUP_M
    rows = tl.minimum(tiles_m - first, GROUP_M)
    return lead, (first + tile % per_group % rows) * BLOCK_M, tile % per_group // rows * BLOCK_N
