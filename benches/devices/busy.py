"""How much of the CPU other work took while something was timed.

Two OpenMP threads on two cores of which one is taken wait for each other at every barrier: such a median can be thirty times too long and
have a narrow interval, so that no statistic of the samples shows it. The machine's load does not show it either: thirty samples of 20 us
lie within another process's burst of 45 ms, and the kernel counts the time of each core in ticks of 10 ms. The time in which this process's
own threads were ready to run but did not run does show it: the kernel counts that in nanoseconds, by thread.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

TOLERATED = 0.1  # cores taken from a thread, on average
TICK_S = 0.01  # in which the kernel counts CPU time
# Largest share of the sampling time that threads may wait or the hypervisor may steal. Samples as long as the disturbance's period become
# longer by this share; of shorter samples, fewer than this share are affected. On an idle machine threads wait only for the kernel's own
# threads: some tens of microseconds some tens of times a second, a thousandth of the time.
WAITING = 0.05
WAITED_S = 2e-4  # and more than this in all: where all samples together take 1 ms, one run of a kernel thread is 5% of it
# A thread may wait this long for the switch each time it runs. Waking a sleeping core takes longer, but is not counted: Linux lets
# such a core put the thread on its queue itself (kernel/sched/core.c: ttwu_queue_cond). Where another process has the core, the wait is
# its time slice: 0.7 ms at least (kernel/sched/fair.c: sysctl_sched_base_slice).
SWITCH_S = 1e-5
# Where the kernel does not count waits, its count of preemptions is used: one by another process costs a time slice, one by a kernel
# thread next to nothing.
PREEMPTED_PER_S, PREEMPTED = 50.0, 5  # per second, and in all: both must be reached
TASKS = Path("/proc/self/task")


@dataclass(frozen=True)
class Waits:
    """Totals of one thread so far: seconds in which it was ready but another thread ran, and how often it was given a core."""

    seconds: float
    runs: int


@dataclass(frozen=True)
class Counters:
    """Counts of the system so far: only differences between two of them mean something."""

    wall_s: float
    stolen_s: float = 0.0  # of all cores, by the hypervisor
    preempted: int | None = None  # how often a thread of this process lost its core; None: not known
    waits: Mapping[int, Waits] | None = None  # by thread of this process; None: not counted on this system


def count(tasks: Path = TASKS) -> Counters:
    """Returns the counters now. Takes about 15 us a thread."""
    stolen_s = float(getattr(psutil.cpu_times(), "steal", 0.0))
    linux = sys.platform == "linux"  # elsewhere the end of a time slice may be counted though no other thread runs
    preempted = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw if linux else None
    return Counters(time.perf_counter(), stolen_s, preempted, read_waits(tasks))


def read_waits(tasks: Path) -> dict[int, Waits] | None:
    """Returns the waits by thread; None without /proc/self/task, and where the kernel writes zeros because it lacks CONFIG_SCHED_INFO."""
    found = {}
    try:
        threads = os.listdir(tasks)
    except OSError:
        return None
    for thread in threads:
        try:  # a thread may have ended since
            _, waited_ns, runs = map(int, (tasks / thread / "schedstat").read_text(encoding="utf-8").split())
        except (OSError, ValueError):
            continue
        found[int(thread)] = Waits(waited_ns / 1e9, runs)
    return found if any(waits.runs for waits in found.values()) else None


def waited_s(before: Mapping[int, Waits], after: Mapping[int, Waits]) -> float:
    """Returns seconds waited, summed over threads, less the cost of switches. A thread that started in between counts from its start."""
    total = 0.0
    for thread, now in after.items():
        then = before.get(thread, Waits(0.0, 0))
        total += max(0.0, now.seconds - then.seconds - SWITCH_S * (now.runs - then.runs))
    return total


def held_up(before: Counters, after: Counters) -> str | None:
    """Returns why samples taken between the two cannot be trusted, or None: threads waited, were preempted or a hypervisor took time."""
    elapsed = after.wall_s - before.wall_s
    if elapsed <= 0:
        return None
    stolen = (after.stolen_s - before.stolen_s - TICK_S) / elapsed  # the count may be a tick ahead
    if stolen > WAITING:
        return f"the hypervisor gave {stolen:.0%} of a core to others while it was timed: wait until the host is idle"
    if before.waits is not None and after.waits is not None:
        waited = waited_s(before.waits, after.waits)
        if waited > max(WAITED_S, WAITING * elapsed):
            return f"its threads waited {waited / elapsed:.0%} of the time for cores in use by other work: wait until the machine is idle"
    elif before.preempted is not None and after.preempted is not None:
        preempted = after.preempted - before.preempted
        if preempted >= PREEMPTED and preempted > PREEMPTED_PER_S * elapsed:
            return f"its threads lost their cores {preempted / elapsed:.0f} times a second to other work: wait until the machine is idle"
    return None


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
