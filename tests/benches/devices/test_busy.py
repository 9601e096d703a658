"""Other processes on the CPU while a point is timed."""

from __future__ import annotations

import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from benches.devices import busy
from benches.devices.busy import TICK_S, OtherWork, disturbed


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


def test_the_machines_work_less_ones_own_is_that_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 10 s, in which this process worked 5 s on its own account and 1 s in the kernel, and the machine 21 s on all its cores."""
    walls, machines, owns = iter([100.0, 110.0]), iter([(7.0, 3.0, 1.0), (25.0, 6.0, 1.0)]), iter([(1.0, 1.0), (6.0, 2.0)])
    monkeypatch.setattr(busy, "time", SimpleNamespace(perf_counter=lambda: next(walls)))
    monkeypatch.setattr(
        busy.psutil, "cpu_times", lambda: SimpleNamespace(**dict(zip(("user", "system", "steal"), next(machines), strict=True)))
    )
    monkeypatch.setattr(
        busy, "os", SimpleNamespace(times=lambda: SimpleNamespace(**dict(zip(("user", "system"), next(owns), strict=True))))
    )
    assert OtherWork().cores() == pytest.approx((21 - 6 - 4 * TICK_S) / 10)


@pytest.mark.slow
def test_another_process_is_seen() -> None:
    """However little of a busy or limited machine it gets: set against the CPU time that it had. The kernel samples one and adds up the
    other, so that they agree roughly."""
    others, start = OtherWork(), time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as burner:
        try:
            while (burned := sum(psutil.Process(burner.pid).cpu_times()[:2])) < 1:
                time.sleep(0.05)
            seen = others.cores() * (time.perf_counter() - start)
        finally:
            burner.kill()
    assert seen > burned / 2
