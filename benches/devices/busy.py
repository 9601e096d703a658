"""What other processes took of the CPU while something was timed.

Two OpenMP threads on two cores of which one is taken wait for each other at every barrier: such a median can be thirty times too long and
have a narrow interval, so that no statistic of the samples shows it.
"""

from __future__ import annotations

import os
import time

import psutil

TOLERATED = 0.1  # cores taken from a thread, on average
TICK_S = 0.01  # in which the kernel counts CPU time


class OtherWork:
    """Counts from its making. Linux, macOS; elsewhere it knows what psutil knows."""

    def __init__(self) -> None:
        self._wall, self._busy, self._own = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float]:
        times, own = psutil.cpu_times(), os.times()
        busy = sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "steal"))
        return time.perf_counter(), busy, own.user + own.system

    def cores(self) -> float:
        """Cores that others kept busy at least, on average since then: both counts may be a tick off at either end."""
        wall, busy, own = self._now()
        elapsed = wall - self._wall
        least = (busy - self._busy) - (own - self._own) - 4 * TICK_S
        return max(0.0, least) / elapsed if elapsed > 0 else 0.0


def disturbed(other_cores: float, threads: int, cores: int) -> str | None:
    """Why a time on `threads` threads of `cores` cores cannot be trusted, or None."""
    taken = other_cores + threads - cores
    if taken <= TOLERATED * threads:
        return None
    return f"other processes took {other_cores:.1f} of {cores} cores while it was timed: wait until the machine is idle"
