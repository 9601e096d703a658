"""The study of other work on the CPU, without its runs: the reference, which rows are off, and the page."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path

import pytest

from benches.row import DISTURBED, Row, Status, new_row
from kernels.registry import OPS
from studies.disturbances import page, trial, work
from studies.disturbances.__main__ import good, in_turns, main
from studies.disturbances.trial import Found, factor, judge, judge_quiet, reference, spread
from studies.disturbances.work import KINDS, Work

POINT = OPS["matmul"].point("torch", "fp32", {"m": 17, "n": 3, "k": 129})
COST = OPS["matmul"].cost(POINT, "cpu")


def run(median_s: float | None, status: Status = "ok", cause: str | None = None, point: str = "p") -> dict[str, Row]:
    return {point: new_row(POINT, COST, status, None, cause=cause, median_s=median_s).model_copy(update={"point": point})}


def test_what_is_right_comes_from_quiet_runs_that_ended_ok() -> None:
    quiet = [run(1.0), run(1.2), run(0.9), run(5.0, "noisy"), run(None, "error"), {}]
    assert reference(quiet) == {"p": (0.9, 1.2)}
    assert reference([*quiet[:2], *quiet[3:]]) == {}, "two are too few"


@pytest.mark.parametrize(
    ("seconds", "expected"), [(1.0, 1.0), (0.9, 1.0), (1.2, 1.0), (1.5, 1.25), (0.45, 0.5), (1.3, pytest.approx(1.3 / 1.2))]
)
def test_how_far_beyond_the_quiet_runs(seconds: float, expected: float) -> None:
    assert factor(seconds, 0.9, 1.2) == expected


def test_only_ok_rows_can_be_off_and_only_by_more_than_a_tenth() -> None:
    runs = [
        run(1.31),
        run(1.33),
        run(0.80),
        run(0.82),
        run(9.0, "noisy", DISTURBED),
        run(9.0, "noisy"),
        run(None, "error"),
        run(1.0, point="q"),
    ]
    found = judge("bursts", runs, {"p": (0.9, 1.2)})
    assert (found.name, found.rows, found.ok, found.disturbed, found.noisy) == ("bursts", 7, 4, 1, 2)
    assert found.off == (("p", pytest.approx(1.33 / 1.2)), ("p", pytest.approx(0.80 / 0.9)))
    assert found.share == 0.5
    assert judge("bursts", [run(9.0, "noisy", DISTURBED)], {"p": (0.9, 1.2)}).share == 0.0


def test_quiet_runs_are_judged_by_one_another() -> None:
    found = judge_quiet([run(1.0), run(1.02), run(1.01), run(1.3)])
    assert (found.rows, found.ok, found.off) == (4, 4, (("p", pytest.approx(1.3 / 1.02)),))


def test_how_far_quiet_runs_differ() -> None:
    assert spread({"a": (1.0, 1.1), "b": (2.0, 2.0), "c": (1.0, 1.5)}) == (pytest.approx(1.1), pytest.approx(1.46), 1.5)
    assert all(math.isnan(one) for one in spread({}))


def test_quiet_runs_come_between_the_others_and_at_either_end() -> None:
    order = in_turns(5, 2)
    assert [i for i, one in enumerate(order) if one is None] == [0, 3, 6, 9, 12]
    assert [one for one in order if one] == [*KINDS, *KINDS]
    assert in_turns(4, 1) == [None, KINDS[0], None, KINDS[1], KINDS[2], None, KINDS[3], None]


def test_the_page_has_table_spread_and_what_was_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PAGE", tmp_path / "d.md")
    found = [Found("nothing", 4, 4, 0, 0, ()), Found("bursts", 40, 20, 15, 5, (("p", 1.31),))]
    page.write_page(found, (1.01, 1.2, 1.5), 5, 2, "smoke", 2)
    text = (tmp_path / "d.md").read_text(encoding="utf-8")
    for line in ("| bursts | 40 | 20 | 15 | 5 | 1 | 5.0% |", "is 1.01× its shortest", "- bursts: p 1.31×", "with 2 threads"):
        assert line in text


@pytest.mark.parametrize(("ok", "met"), [(20, True), (19, False)])
def test_one_in_twenty_may_be_off(ok: int, met: bool) -> None:
    quiet = Found("nothing", 4, 4, 0, 0, (("p", 2.0),))  # whatever the quiet runs are
    assert good([quiet, Found("bursts", 40, ok, 0, 0, (("p", 1.31),))]) == met


def test_too_few_quiet_runs_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--quiet", "3"])
    assert "--quiet: give more than 3, " in capsys.readouterr().err


def test_a_machine_on_which_nothing_is_right_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    noisy = run(1.0, "noisy", DISTURBED)
    monkeypatch.setattr("studies.disturbances.__main__.all_runs", lambda *asked: ([noisy] * 5, [(KINDS[0], [noisy])]))
    assert main([]) == 2
    assert capsys.readouterr().err == "error: no point ended ok in 3 quiet runs: the machine is not idle\n"


@pytest.mark.parametrize(("median_s", "code"), [(1.05, 0), (1.3, 1)])
def test_the_command_ends_by_what_is_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], median_s: float, code: int
) -> None:
    monkeypatch.setattr("studies.disturbances.__main__.all_runs", lambda *asked: ([run(1.0)] * 5, [(KINDS[0], [run(median_s)])]))
    assert main([]) == code
    assert f"| {KINDS[0].name} | 1 | 1 | 0 | 0 | {code} |" in capsys.readouterr().out


class Stop(Exception):
    pass


@pytest.mark.parametrize(
    ("kind", "pauses"),
    [
        (Work("even", 0.06, 0.4), [0.34] * 3),
        (Work("random", 0.045, 0.3, random=True), None),
        (Work("idle", 0.06, 0.06, idle=True), [0.0] * 3),
    ],
)
def test_work_is_as_long_as_it_says(monkeypatch: pytest.MonkeyPatch, kind: Work, pauses: list[float] | None) -> None:
    now, slept, policies = [0.0], list[float](), list[int]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise Stop

    def clock() -> float:
        now[0] += 0.001
        return now[0]

    monkeypatch.setattr(work.time, "perf_counter", clock)
    monkeypatch.setattr(work.time, "sleep", sleep)
    monkeypatch.setattr(work.os, "SCHED_IDLE", 5, raising=False)
    monkeypatch.setattr(work.os, "sched_param", lambda priority: priority, raising=False)
    monkeypatch.setattr(work.os, "sched_setscheduler", lambda pid, policy, parameter: policies.append(policy), raising=False)
    with pytest.raises(Stop):
        work.spin(kind, seed=1)
    assert now[0] == pytest.approx(3 * kind.busy_s, abs=0.01)
    assert policies == ([5] if kind.idle else [])
    if pauses is None:
        assert len(set(slept)) == 3
    else:
        assert slept == pytest.approx(pauses)


@pytest.mark.parametrize(("kind", "processes"), [(None, 0), (KINDS[0], 1), (KINDS[1], 3), (KINDS[2], 3)])
def test_so_many_processes_run_beside_a_run(kind: Work | None, processes: int) -> None:
    found = work.commands(kind, cores=3)
    assert len({command[-1] for command in found}) == len(found) == processes
    assert all(KINDS[int(command[-2])] == kind for command in found)


@pytest.mark.slow
def test_work_begins_before_a_run_and_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen
    monkeypatch.setattr(work.subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    with work.beside(KINDS[0], cores=1):
        assert [process.poll() for process in started] == [None]
    assert started[0].poll() is not None


def test_points_are_those_a_cpu_times_in_a_moment() -> None:
    points = trial.points("smoke")
    assert len(points) > 20
    assert len({point.op for point in points}) > 6
    assert {(point.impl, point.precision) for point in points} == {("torch", "fp32")}
