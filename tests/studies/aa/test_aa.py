"""The A/A harness without its long runs: what a plant does, what counts as found, missed and false, what the page says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benches.run import worker
from kernels.op import Inputs, Kernel
from kernels.registry import OPS
from studies.aa import page, plant, trial
from studies.aa.__main__ import good, main
from studies.aa.plant import SENTINELS, Plant, parse
from studies.aa.trial import SLOWDOWN, Trial, judge, together
from tests.reports.conftest import ENVIRONMENTS, write_run
from tests.reports.test_compare import rerun, rows_of

SPEC = Plant("elementwise", "triton")


@pytest.mark.parametrize(
    ("text", "expected"), [("elementwise:torch:13", ("elementwise", "torch", 13)), ("matmul:torch", ("matmul", "torch", 1))]
)
def test_a_plant_is_named(text: str, expected: tuple[str, str, int]) -> None:
    assert parse(text) == Plant(*expected)
    assert parse(str(parse(text))) == parse(text)


@pytest.mark.parametrize("text", ["", "matmul", "matmul:cuda", "conv:torch", "matmul:torch:-1", "matmul:torch:1.3"])
def test_a_plant_that_is_none_is_a_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="names no implementation: one of matmul:torch,"):
        parse(text)
    with pytest.raises(SystemExit, match="2"):
        main(["--plant", text])
    assert "names no implementation" in capsys.readouterr().err


def test_a_worker_runs_the_planted_implementation_so_often_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a worker does: `start` plants and then goes on in the worker's own."""
    calls: list[str] = []
    went_on: list[tuple[object, ...]] = []
    monkeypatch.setattr(plant, "load_counted", lambda point, inputs: Kernel(lambda: calls.append(point.id) or len(calls)), raising=False)
    impls = OPS["elementwise"].impls
    monkeypatch.setitem(impls, "torch", replace(impls["torch"], build="studies.aa.plant:load_counted"))  # type: ignore[arg-type]
    monkeypatch.setitem(impls, "triton", impls["triton"])  # type: ignore[arg-type]
    monkeypatch.setattr(worker, "start", lambda *arguments: went_on.append(arguments))
    monkeypatch.setenv(plant.VARIABLE, "elementwise:torch:13")
    plant.start("log", {"kind": "cpu"}, None)
    assert went_on == [("log", {"kind": "cpu"}, None)]
    point = OPS["elementwise"].point("torch", "fp32", {"m": 127, "n": 3}, {"function": "exp"})
    kernel = OPS["elementwise"].impls["torch"].load()(point, Inputs((), None))
    assert kernel.run() == 13, "what the last one gave"
    assert len(calls) == 13
    sentinel = next(one for one in plant.sentinels.points("cpu").values() if one.op == "elementwise")
    OPS["elementwise"].impls["torch"].load()(sentinel, Inputs((), None)).run()
    assert calls[13:] == [sentinel.id], "a sentinel is left alone"
    assert OPS["elementwise"].impls["triton"].build == impls["triton"].build


def test_the_plugin_makes_workers_start_in_the_plant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "start", worker.start)
    plant.pytest_configure()
    assert worker.start is plant.start


def runs(tmp_path: Path, factor: float, other: float = 1.0) -> tuple[Path, Path]:
    """Two runs in which elementwise Triton takes `factor` times as long, and one point of another implementation `other` times."""
    rows = rows_of()
    odd = next(row.point for row in rows if row.impl == "torch" and row.median_s is not None)
    slow = rerun(rows, slower=lambda row: factor if SPEC.hits(row.point, row.op, row.impl) else other if row.point == odd else 1.0)
    environment = ENVIRONMENTS["cuda"]
    return write_run(tmp_path / "a", rows, environment), write_run(tmp_path / "b", slow, environment)


@pytest.mark.slow
def test_a_planted_slowdown_is_counted_as_found_and_the_rest_as_same_code(tmp_path: Path) -> None:
    a, b = runs(tmp_path, SLOWDOWN)
    found = judge([a], [b], SPEC)
    assert found.planted == found.found > 0
    assert (found.missed, found.called, found.name) == (0, [], "a → b")
    assert good([replace(found, name="slowed, 5 runs a side")])


@pytest.mark.slow
def test_what_is_called_falsely_or_missed_fails(tmp_path: Path) -> None:
    def judged(folder: str, factor: float, other: float = 1.0, spec: Plant | None = SPEC) -> Trial:
        a, b = runs(tmp_path / folder, factor, other)
        return replace(judge([a], [b], spec), name="5 runs a side")

    falsely = judged("falsely", SLOWDOWN, other=2.0)
    assert falsely.called == ["a → b: matmul-torch-fp32-64x1024x1024", "a → b: mean of matmul torch fp32"]
    assert falsely.found == falsely.planted
    assert not good([falsely])
    missed = judged("missed", 1.0)
    assert missed.found == 0
    assert missed.missed + missed.unclear == missed.planted
    assert not good([missed])
    same = judged("same", 1.0, spec=None)
    assert (same.planted, same.called) == (0, [])
    assert good([same])


@pytest.mark.slow
def test_nights_count_what_they_confirm(tmp_path: Path) -> None:
    """Fourteen nights of the same code confirm nothing; four slower ones after them the implementation that is slower, and no other."""
    rows = rows_of()

    def night(i: int, factor: float) -> Path:
        again = rerun(rows, seed=i, slower=lambda row: factor if SPEC.hits(row.point, row.op, row.impl) else 1.0)
        return write_run(tmp_path / f"run-{i:02}", again, {**ENVIRONMENTS["cuda"], "started_utc": f"2026-11-01T{i:02}:00:00+00:00"})

    same, slower = [night(i, 1.0) for i in range(14)], [night(i, SLOWDOWN) for i in range(14, 18)]
    quiet = trial.nights("same code, nightly", same, [], None)
    assert (quiet.called, quiet.verdicts["slower"], quiet.comparisons) == ([], 0, 2), "10 nights before and 3 to judge"
    found = trial.nights("slowed, nightly", same, slower, SPEC)
    assert found.planted == found.found == found.verdicts["slower"] > 0
    assert found.called == []


@pytest.mark.slow
def test_runs_of_different_commits_are_no_trial(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", rows_of(), ENVIRONMENTS["cuda"])
    b = write_run(tmp_path / "b", rows_of(), {**ENVIRONMENTS["cuda"], "commit": "f" * 40})
    with pytest.raises(trial.RunFailed, match="runs of 2 commits"):
        judge([a], [b], None)


def test_sums(tmp_path: Path) -> None:
    one = Trial("a", 1, Counter(slower=1, same=2), ["x"], 3, 1, 1)
    assert together("both", [one, one]) == Trial("both", 2, Counter(slower=2, same=4), ["x", "x"], 6, 2, 2)
    assert together("both", [one, one]).missed == 2


def test_sentinels_are_never_planted() -> None:
    for point in SENTINELS:
        op, impl = point.split("-")[:2]
        assert not Plant(op, impl).hits(point, op, impl)


def test_the_page_holds_the_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PAGE", tmp_path / "aa.md")
    counts = Counter(slower=1, unclear=4, same=50)
    trials = [
        Trial("same code, 5 runs a side", 1, counts, ["run-08 → run-09: matmul-torch-fp32-1x2x3"]),
        Trial("slowed, 5 runs a side", 1, counts + Counter(slower=19), [], 22, 20, 2),
        Trial("slowed, nightly", 4, counts, [], 22, 20, 2, nightly=True, suspect=1),
    ]
    text = page.write_page(trials, "smoke", SPEC).read_text(encoding="utf-8")
    assert "| same code, 5 runs a side | 1 | 55 | 1 | 0 | 4 | 50 | 1 | – | – | – | – |" in text
    assert "| slowed, 5 runs a side | 1 | 74 | 20 | 0 | 4 | 50 | 0 | 22 | 20 | 2 | 0 |" in text
    assert "- Same code, 5 runs a side: of 55 pairs of points 1 called falsely." in text
    assert (
        "- Slowed, nightly: of 55 series and night 0 called falsely, and 20 of 22 slowed by 1.33× found. 1 of 4 nights were suspect."
        in text
    )
    assert "- run-08 → run-09: matmul-torch-fp32-1x2x3" in text
    assert "does its work 4 times, alternating with runs in which it does it 3" in text
    assert "1.33× by construction" in text


def test_too_few_runs_for_two_sides_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--runs", "9"])
    assert "two sides of 5 runs need 10" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_fails_is_a_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--sweep", str(tmp_path / "none.yaml"), "--folder", str(tmp_path / "runs")]) == 2
    assert "run run-00 ended with 4; see" in capsys.readouterr().err


def test_a_run_that_came_to_its_end_is_kept(tmp_path: Path) -> None:
    whole = write_run(tmp_path / "run-00", rows_of(), {**ENVIRONMENTS["cuda"]})
    with pytest.raises(trial.RunFailed, match="was made of nobody knows what"):
        trial.run(tmp_path, "run-00", "smoke", SPEC)
    (tmp_path / "run-00.txt").write_text(f"sweep smoke, {SPEC} planted, {trial.THREADS} threads", encoding="utf-8")
    assert trial.run(tmp_path, "run-00", "smoke", SPEC) == whole
    with pytest.raises(trial.RunFailed, match="not of sweep smoke, nothing planted"):
        trial.run(tmp_path, "run-00", "smoke")
    assert not trial.ended(write_run(tmp_path / "cut", rows_of(), {**ENVIRONMENTS["cuda"], "finished_utc": None}))
    assert not trial.ended(write_run(tmp_path / "stopped", rows_of(), {**ENVIRONMENTS["cuda"], "interrupted": True}))
    assert not trial.ended(tmp_path / "nowhere")
