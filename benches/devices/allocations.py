"""What PyTorch's CPU allocator hands out while a call runs, as its own profiler reports every allocation and every release.

It counts tensors' memory, to the byte: the CPU allocator rounds nothing. What libraries below PyTorch take from malloc is not seen.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch.autograd.profiler import profile

T = TypeVar("T")
MEMORY = "[memory]"  # what Kineto calls such events

os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # or each start and stop prints a line


@dataclass(frozen=True)
class Allocations:
    """Bytes: what was allocated and not released when the call ended, and the most that was held at once."""

    net_bytes: int
    peak_bytes: int


def allocated(call: Callable[[], T]) -> tuple[T, Allocations]:
    """The call's result, and what it allocated."""
    with profile(profile_memory=True) as profiled:
        result = call()
    events = [e for e in profiled.kineto_results.events() if e.name() == MEMORY]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return result, Allocations(held, peak)
