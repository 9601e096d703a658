"""What PyTorch's CUDA caching allocator makes of a request for memory, in its default settings. Pure functions of sizes, in bytes.

A tensor gets a block: its size rounded up to 512 bytes. A block is cut from a segment that cudaMalloc gave: 2 MiB for blocks of at most
1 MiB (the small pool), 20 MiB for blocks below 10 MiB, else the block rounded up to 2 MiB. What is left of the segment becomes another
block, but in the large pool only where more than 1 MiB is left: otherwise the tensor holds all of it, and `max_memory_allocated` counts
all of it. Sources: c10/core/AllocatorConfig.h for the sizes; round_size, get_allocation_size and should_split in
c10/cuda/CUDACachingAllocator.cpp; "Memory management" in PyTorch's CUDA semantics.
"""

from __future__ import annotations

MIB = 2**20
BLOCK = 512
SMALL = MIB  # the largest block of the small pool
SMALL_SEGMENT = 2 * MIB
LARGE = 10 * MIB  # from here on a block has a segment of its own
LARGE_SEGMENT = 20 * MIB
LARGE_STEP = 2 * MIB
UNSPLIT = MIB  # at most so much stays with a block of the large pool


def block_bytes(requested: int) -> int:
    """The request in whole blocks of 512 bytes; nothing is allocated for a tensor without elements."""
    return -(-requested // BLOCK) * BLOCK


def segment_bytes(requested: int) -> int:
    """What cudaMalloc is asked for where no free block is large enough."""
    block = block_bytes(requested)
    if block <= SMALL:
        return SMALL_SEGMENT if block else 0
    return LARGE_SEGMENT if block < LARGE else -(-block // LARGE_STEP) * LARGE_STEP


def held_bytes(requested: int) -> int:
    """What `memory_allocated` counts for a tensor that is cut from a new segment."""
    block = block_bytes(requested)
    left = segment_bytes(requested) - block
    return block + left if block > SMALL and left <= UNSPLIT else block


def most_rounding(tensors: int) -> int:
    """What `tensors` of whatever sizes can hold beyond their elements: no request holds more than one block and UNSPLIT too much."""
    return tensors * (BLOCK - 1 + UNSPLIT)
