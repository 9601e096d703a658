"""A Triton kernel that writes where nothing is mapped. Apart from faults.py, since Triton is imported only on a GPU."""

import triton
import triton.language as tl


@triton.jit
def store_far(pointer, offset):  # type: ignore[no-untyped-def]
    """Writes one element `offset` elements beyond the pointer."""
    tl.store(pointer + offset, 1.0)
