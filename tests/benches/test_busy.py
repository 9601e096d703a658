"""Other processes on the CPU while a point is timed."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

from benches.busy import OtherWork, disturbed


@pytest.mark.parametrize(
    ("other", "threads", "cores", "trusted"),
    [
        (0.0, 2, 2, True),
        (0.15, 2, 2, True),
        (0.3, 2, 2, False),
        (1.0, 2, 2, False),
        (6.0, 8, 16, True),
        (9.0, 8, 16, False),
        (0.9, 1, 2, True),
    ],
)
def test_what_is_too_much(other: float, threads: int, cores: int, trusted: bool) -> None:
    assert (disturbed(other, threads, cores) is None) == trusted


def test_another_process_is_seen_and_ones_own_work_is_not() -> None:
    own = OtherWork()
    until = time.perf_counter() + 0.5
    while time.perf_counter() < until:
        pass
    alone = own.cores()
    others = OtherWork()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as burner:
        time.sleep(1.5)
        seen = others.cores()
        burner.kill()
    cores = psutil.cpu_count() or 1
    assert alone <= cores - 0.5  # this process kept a core busy, and that is not others' work
    assert seen > 0.5
