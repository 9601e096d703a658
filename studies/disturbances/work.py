"""Other work, of known length: processes that spin, pause and spin again until they are ended.

`python -m studies.disturbances.work NUMBER SEED` is one process of a kind; nothing heavy is imported, so that it spins at once.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from kernels.guard import ROOT


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
    """Spins and pauses until this process is ended. Prints a line when it begins."""
    if work.idle:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    pauses = random.Random(seed)
    print("begun", flush=True)
    while True:
        end = time.perf_counter() + work.busy_s
        while time.perf_counter() < end:
            pass
        pause = work.period_s - work.busy_s
        time.sleep(pauses.expovariate(1 / pause) if work.random else pause)


@contextmanager
def beside(work: Work | None, cores: int) -> Iterator[None]:
    """Runs the work beside the body of the `with`, which starts once all its processes have begun; nothing for None.

    Raises RuntimeError where one ends instead of beginning, as on a system without SCHED_IDLE.
    """
    with ExitStack() as stack:
        for command in commands(work, cores):
            process = stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE))
            stack.callback(process.kill)
            if process.stdout is None or not process.stdout.readline():
                raise RuntimeError(f"{' '.join(command)} did not begin")
        yield


def commands(work: Work | None, cores: int) -> list[list[str]]:
    """The command line of each process."""
    if work is None:
        return []
    one = [sys.executable, "-m", "studies.disturbances.work", str(KINDS.index(work))]
    return [[*one, str(seed)] for seed in range(work.processes or cores)]


if __name__ == "__main__":
    spin(KINDS[int(sys.argv[1])], int(sys.argv[2]))
