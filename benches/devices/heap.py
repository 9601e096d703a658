"""Keeps freed memory in the process, as CUDA's caching allocator does, so that a call is timed and not the kernel's page faults.

glibc gives an allocation over its threshold (128 KB to 32 MB, moved by what was freed before) back to Linux at once: the next call then
faults in and zeroes every page anew. A call that returns 32 MB took four times as long for it (PyTorch's silu, 16.6 ms and 4.0 ms, on two
cores of an AMD EPYC), and whether it does hangs on what else the process freed, so that the same code differed from run to run.
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h of glibc
NEVER = -1  # as an unsigned threshold, the largest


def keep_freed_memory() -> bool:
    """For this process, from now on; whether the C library can (glibc does, musl and macOS do not). Peak memory stays what it was."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # TypeError: Windows
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))
