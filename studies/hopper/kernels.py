"""C = A·B in Triton in the ways that an H100 offers: pointers, or bulk copies (TMA); one tile a block, persistent, warp-specialised.

A (m, k) is row-major. B (k, n) is column-major in layout nt (stored n × k) and row-major in nn. C (m, n) is row-major; sums are fp32.
Sizes are multiples of 16, and k is a multiple of BLOCK_K, so that no load along k needs a mask.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def tile_at(index: tl.tensor, tiles_m: tl.tensor, tiles_n: tl.tensor, GROUP_M: tl.constexpr) -> tuple[tl.tensor, tl.tensor]:
    """(row, column) of a tile: GROUP_M rows of tiles run together, so that their blocks share A's rows and B's columns in the L2."""
    per_group = GROUP_M * tiles_n
    first = index // per_group * GROUP_M
    rows = tl.minimum(tiles_m - first, GROUP_M)
    return first + index % per_group % rows, index % per_group // rows


@triton.jit
def pointer_kernel(
    a: tl.tensor,
    b: tl.tensor,
    c: tl.tensor,
    m: tl.tensor,
    n: tl.tensor,
    k: tl.tensor,
    stride_am: tl.tensor,
    stride_bk: tl.tensor,  # 1 in layout nt
    stride_bn: tl.tensor,  # 1 in layout nn
    stride_cm: tl.tensor,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
    ADDRESS: tl.constexpr,  # what a k-step changes: "base", an address (a tile of pointers gives the same code), or "offset", 32 bits
) -> None:
    """One tile of C a block. Rows and columns past the edge are read from the start again, which needs no mask; the store has one."""
    row, column = tile_at(tl.program_id(0), tl.cdiv(m, BLOCK_M), tl.cdiv(n, BLOCK_N), GROUP_M)
    rows = (row * BLOCK_M + tl.arange(0, BLOCK_M)) % m
    columns = (column * BLOCK_N + tl.arange(0, BLOCK_N)) % n
    # Without these two facts the remainder hides that columns are contiguous, and layout nn loads 2 bytes at a time.
    columns = tl.max_contiguous(tl.multiple_of(columns, BLOCK_N), BLOCK_N)
    range_k = tl.arange(0, BLOCK_K)
    a_tile = rows[:, None] * stride_am + range_k[None, :]
    b_tile = range_k[:, None] * stride_bk + columns[None, :] * stride_bn
    sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for done in range(0, k, BLOCK_K):
        if ADDRESS == "base":
            sums = tl.dot(tl.load(a + a_tile), tl.load(b + b_tile), sums)
            a += BLOCK_K
            b += BLOCK_K * stride_bk
        else:
            sums = tl.dot(tl.load(a + (a_tile + done)), tl.load(b + (b_tile + done * stride_bk)), sums)
    rows = row * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = column * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = (rows < m)[:, None] & (columns < n)[None, :]
    tl.store(c + rows[:, None] * stride_cm + columns[None, :], sums.to(c.dtype.element_ty), mask=inside)


@triton.jit
def load_b(b: tl.tensor, column: tl.tensor, done: tl.tensor, NT: tl.constexpr) -> tl.tensor:
    """The tile of B (BLOCK_K, BLOCK_N) that starts at row `done`."""
    if NT:
        return b.load([column, done]).T
    else:  # Triton needs both branches of a constexpr
        return b.load([done, column])


@triton.jit
def store_c(c: tl.tensor, sums: tl.tensor, row: tl.tensor, column: tl.tensor, m: tl.tensor, n: tl.tensor, STORE: tl.constexpr) -> None:
    """Writes a tile: "whole" or in "halves", which need half the shared memory, by a bulk copy; "direct" from the registers."""
    BLOCK_M: tl.constexpr = sums.shape[0]
    BLOCK_N: tl.constexpr = sums.shape[1]
    if STORE == "whole":
        c.store([row, column], sums.to(c.dtype))
    elif STORE == "halves":
        left, right = tl.split(tl.permute(tl.reshape(sums, (BLOCK_M, 2, BLOCK_N // 2)), (0, 2, 1)))
        c.store([row, column], left.to(c.dtype))
        c.store([row, column + BLOCK_N // 2], right.to(c.dtype))
    else:
        rows = row + tl.arange(0, BLOCK_M)
        columns = column + tl.arange(0, BLOCK_N)
        inside = (rows < m)[:, None] & (columns < n)[None, :]
        tl.store(c + rows[:, None] * n + columns[None, :], sums.to(c.dtype.element_ty), mask=inside)


@triton.jit
def tma_kernel(
    a: tl.tensor,  # descriptors made on the host, or with DEVICE pointers of which the kernel makes descriptors
    b: tl.tensor,
    c: tl.tensor,
    m: tl.tensor,
    n: tl.tensor,
    k: tl.tensor,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
    NT: tl.constexpr,
    DEVICE: tl.constexpr,
    STORE: tl.constexpr,  # see store_c; "direct" with DEVICE only
    PROGRAMS: tl.constexpr,  # blocks of a persistent kernel, 0 where each block has one tile
    FLATTEN: tl.constexpr,  # makes the loops over tiles and along k one, so that the next tile's loads start before this one is stored
    SPECIALIZE: tl.constexpr,  # gives loads and products warps of their own
) -> None:
    """Tiles of C by bulk copies, which fill what lies past an edge with zeros and write nothing there."""
    if DEVICE:
        a_tiles = tl.make_tensor_descriptor(a, [m, k], [k, 1], [BLOCK_M, BLOCK_K])
        if NT:
            b_tiles = tl.make_tensor_descriptor(b, [n, k], [k, 1], [BLOCK_N, BLOCK_K])
        else:
            b_tiles = tl.make_tensor_descriptor(b, [k, n], [n, 1], [BLOCK_K, BLOCK_N])
        if STORE == "direct":
            c_tiles = c
        else:
            c_tiles = tl.make_tensor_descriptor(c, [m, n], [n, 1], [BLOCK_M, BLOCK_N // 2 if STORE == "halves" else BLOCK_N])
    else:
        a_tiles = a
        b_tiles = b
        c_tiles = c
    tiles_m = tl.cdiv(m, BLOCK_M)
    tiles_n = tl.cdiv(n, BLOCK_N)
    first = tl.program_id(0)
    if PROGRAMS == 0:
        row, column = tile_at(first, tiles_m, tiles_n, GROUP_M)
        sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        for done in tl.range(0, k, BLOCK_K, warp_specialize=SPECIALIZE):
            x = a_tiles.load([row * BLOCK_M, done])
            sums = tl.dot(x, load_b(b_tiles, column * BLOCK_N, done, NT), sums)
        store_c(c_tiles, sums, row * BLOCK_M, column * BLOCK_N, m, n, STORE)
    else:
        stored = first
        for tile in tl.range(first, tiles_m * tiles_n, PROGRAMS, flatten=FLATTEN, warp_specialize=SPECIALIZE):
            row, column = tile_at(tile, tiles_m, tiles_n, GROUP_M)
            sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
            for done in range(0, k, BLOCK_K):
                x = a_tiles.load([row * BLOCK_M, done])
                sums = tl.dot(x, load_b(b_tiles, column * BLOCK_N, done, NT), sums)
            if FLATTEN:
                # A counter of the stores' own: sharing the loads' would keep both from being in flight at the same time.
                row, column = tile_at(stored, tiles_m, tiles_n, GROUP_M)
                stored += PROGRAMS
            store_c(c_tiles, sums, row * BLOCK_M, column * BLOCK_N, m, n, STORE)
