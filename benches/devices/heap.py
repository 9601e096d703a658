"""Keeps freed memory in the process, as CUDA's caching allocator does, so that a call is timed and not the kernel's page faults.

glibc gives an allocation over its threshold (128 KB to 32 MB, moved by what was freed before) back to Linux at once: the next call then
faults in and zeroes every page anew. A call that returns 32 MB took four times as long for it (PyTorch's silu, 16.6 ms and 4.0 ms, on two
cores of an AMD EPYC), and whether it does hangs on what else the process freed, so that the same code differed from run to run.
"""

from __future__ import annotations

import ctypes
import math

import psutil

LEAST_SHARE = 0.125  # of the machine's memory: less freed memory than this may stay
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h of glibc
NEVER = -1  # as an unsigned threshold, the largest
FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class _Mallinfo2(ctypes.Structure):
    """malloc.h of glibc 2.33; of the main thread's heap; fordblks: bytes in free chunks."""

    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]


def keep_freed_memory() -> bool:
    """For this process, from now on; whether the C library can (glibc does, musl and macOS do not). Peak memory stays what it was."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # TypeError: Windows
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))


def return_freed_memory(least_bytes: float | None = None) -> bool:
    """Gives freed memory back to Linux where there is much of it: between points, or large ones would add up. Whether it did.

    least_bytes: None for LEAST_SHARE of the machine's memory.
    """
    try:
        library = ctypes.CDLL(None)
        trim = library.malloc_trim
    except (AttributeError, OSError, TypeError):
        return False
    least = LEAST_SHARE * psutil.virtual_memory().total if least_bytes is None else least_bytes
    return _freed_bytes(library) > least and bool(trim(0))


def _freed_bytes(library: ctypes.CDLL) -> float:
    """Of the heap; infinite where glibc, older than 2.33, does not tell: then it is returned at each point."""
    try:
        library.mallinfo2.restype = _Mallinfo2
        return float(library.mallinfo2().fordblks)
    except AttributeError:
        return math.inf
