"""Other work, of known length: processes that spin, pause and spin again until they are ended."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context

STARTING_S = 1.0  # until all processes spin


@dataclass(frozen=True)
class Work:
    """`processes` (None: one a core) that spin for `busy_s` in each `period_s`; where `random`, with pauses of exponential length, of that
    mean. `idle`: under SCHED_IDLE, where the kernel runs them only when nothing else wants the core."""

    name: str
    busy_s: float
    period_s: float
    processes: int | None = 1
    random: bool = False
    idle: bool = False


KINDS = (
    Work("60 ms of each 400 ms, one process", 0.06, 0.4),
    Work("60 ms of each 400 ms, a process a core", 0.06, 0.4, None),
    Work("always, at SCHED_IDLE, a process a core", 0.06, 0.06, None, idle=True),
    Work("bursts of 45 ms at random, 15% of the time, one process", 0.045, 0.3, random=True),
)


def spin(work: Work, seed: int) -> None:
    """Until this process is ended."""
    if work.idle:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    pauses = random.Random(seed)
    while True:
        end = time.perf_counter() + work.busy_s
        while time.perf_counter() < end:
            pass
        pause = work.period_s - work.busy_s
        time.sleep(pauses.expovariate(1 / pause) if work.random else pause)


@contextmanager
def beside(work: Work | None, cores: int) -> Iterator[None]:
    """Runs the work meanwhile; nothing for None."""
    count = 0 if work is None else work.processes or cores
    spinning = [get_context("spawn").Process(target=spin, args=(work, seed), daemon=True) for seed in range(count)]
    for process in spinning:
        process.start()
    try:
        time.sleep(STARTING_S if spinning else 0)
        yield
    finally:
        for process in spinning:
            process.kill()
            process.join()
