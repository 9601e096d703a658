"""Other processes on the CPU while a point is timed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from benches.devices import busy
from benches.devices.base import Method
from benches.devices.busy import SWITCH_S, TICK_S, Counters, OtherWork, Waits, count, disturbed, held_up, read_waits, waited_s
from benches.devices.cpu import CpuDevice
from kernels.gpus import Ceilings


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


def threads(*each: tuple[float, int]) -> dict[int, Waits]:
    """By thread number: seconds of waiting, times on a core."""
    return {number: Waits(*one) for number, one in enumerate(each)}


def test_waits_are_counted_by_thread_beyond_what_switches_take() -> None:
    """One waits 30 ms in ten slices, one is switched to a thousand times in 12 us each, one begins, one ends, one waited long before."""
    before = {1: Waits(5.0, 100), 2: Waits(0.0, 0), 4: Waits(9.0, 9), 5: Waits(7.0, 70)}
    after = {1: Waits(5.03, 110), 2: Waits(0.012, 1000), 3: Waits(0.004, 1), 5: Waits(7.0, 70)}
    assert waited_s(before, after) == pytest.approx(0.03 - 10 * SWITCH_S + 0.012 - 1000 * SWITCH_S + 0.004 - SWITCH_S)


START = Counters(100.0, 3.0, 40, threads((2.0, 50), (1.0, 60)))


@pytest.mark.parametrize(
    ("elapsed", "stolen", "preempted", "waits", "says"),
    [
        # An idle machine: nothing, or what the kernel's own threads and switches take.
        (1.0, 0.0, 0, [(0.0, 0), (0.0, 0)], None),
        (1.0, 0.0, 30, [(0.002, 30), (0.001, 25)], None),
        (0.003, 0.0, 1, [(0.000005, 1), (0.0, 0)], None),
        (1.0, 0.0, 0, [(0.0, 0), (0.06, 8000)], None),  # a thread that is woken for each call, within 7 us
        (0.001, 0.0, 1, [(0.00018, 1), (0.0, 0)], None),  # of thirty samples, one holds a kernel's thread
        # 60 of each 400 ms on one of two cores: half of that is the thread's, in slices of 3 ms that alternate.
        (0.4, 0.0, 10, [(0.0, 0), (0.030, 10)], "waited 7% of the time"),
        # The same in a window that the burst holds or does not touch.
        (0.003, 0.0, 0, [(0.0, 0), (0.0028, 1)], "waited 93% of the time"),
        (0.3, 0.0, 0, [(0.0, 0), (0.0, 3)], None),
        # A burst of 45 ms in a second: two samples in a hundred.
        (1.0, 0.0, 8, [(0.0225, 8), (0.0, 0)], None),
        # Threads that sleep at each barrier and wait for a slot in a burst: 40 us in each sample of 0.1 ms.
        (0.003, 0.0, 0, [(0.0, 0), (0.0012, 30)], "waited 30% of the time"),
        # At SCHED_IDLE: preempted at once where it holds the core, but two threads share the other one.
        (0.5, 0.0, 60, [(0.1, 60), (0.1, 60)], "waited 40% of the time"),
        # A quota's throttling, all threads together.
        (1.0, 0.0, 10, [(0.5, 10), (0.5, 10)], "waited 100% of the time"),
        # Stolen time comes in ticks: one is nothing, and a wide window shows what many are.
        (0.003, 0.01, 0, [(0.0, 0), (0.0, 0)], None),
        (1.0, 0.05, 0, [(0.0, 0), (0.0, 0)], None),
        (1.0, 0.08, 0, [(0.0, 0), (0.0, 0)], "the hypervisor gave 7% of a core"),
        # Where waits are not counted, preemptions.
        (1.0, 0.0, 40, None, None),
        (1.0, 0.0, 80, None, "lost their cores 80 times a second"),
        (0.003, 0.0, 1, None, None),
        (0.003, 0.0, 6, None, "lost their cores 2000 times a second"),
        # Where neither is counted.
        (1.0, 0.0, None, None, None),
        (0.0, 0.5, 99, [(9.0, 1), (9.0, 1)], None),  # no time has gone by
    ],
)
def test_what_holds_threads_up(
    elapsed: float, stolen: float, preempted: int | None, waits: list[tuple[float, int]] | None, says: str | None
) -> None:
    assert START.waits is not None
    grown = waits and threads(*[(then.seconds + s, then.runs + n) for then, (s, n) in zip(START.waits.values(), waits, strict=True)])
    after = Counters(100.0 + elapsed, 3.0 + stolen, None if preempted is None else 40 + preempted, grown or None)
    found = held_up(START, after)
    assert found is None if says is None else found is not None and says in found


def test_waits_are_read_as_linux_writes_them(tmp_path: Path) -> None:
    """Documentation/scheduler/sched-stats.rst: time on the CPU, time on a run queue, both in ns, and time slices."""
    for thread, text in {"17": "284033 3621130 2\n", "18": "1000000000 2000000000 300\n", "19": "", "20": "1 2\n"}.items():
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(text, encoding="utf-8")
    (tmp_path / "21").mkdir()  # ended meanwhile
    assert read_waits(tmp_path) == {17: Waits(0.00362113, 2), 18: Waits(2.0, 300)}


def test_systems_that_do_not_count_waits(tmp_path: Path) -> None:
    """macOS has no /proc; a kernel without CONFIG_SCHED_INFO has no schedstat, or zeros in it (fs/proc/base.c: proc_pid_schedstat)."""
    (tmp_path / "none" / "17").mkdir(parents=True)
    (tmp_path / "zeros" / "17").mkdir(parents=True)
    (tmp_path / "zeros" / "17" / "schedstat").write_text("0 0 0\n", encoding="utf-8")
    for tasks in (tmp_path / "nowhere", tmp_path / "none", tmp_path / "zeros"):
        found = count(tasks)
        assert found.waits is None
        assert held_up(found, count(tasks)) is None


def test_the_device_counts_from_the_first_block_of_samples_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is counted while it warms up or while the result is verified."""
    times = iter([Counters(1.0), Counters(2.0), Counters(3.0), Counters(7.0)])
    seen: list[tuple[float, float]] = []
    monkeypatch.setattr("benches.devices.cpu.count", lambda: next(times))
    monkeypatch.setattr("benches.devices.cpu.held_up", lambda a, b: seen.append((a.wall_s, b.wall_s)) or "waited")
    device = CpuDevice(Ceilings(peak_flops_per_s={"fp32": 1e11}, bandwidth_bytes_per_s=1e10))
    workload = SimpleNamespace(rotate=lambda sets: None)
    device.prepare(workload, Method("wall"))  # type: ignore[arg-type]
    device.counters()
    device.prepare(workload, Method("wall"))  # type: ignore[arg-type]
    for _ in range(3):
        device.counters()
    device.counters(energy=True)
    assert device.disturbance() == "waited"
    assert seen == [(2.0, 7.0)]


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
