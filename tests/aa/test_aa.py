"""The A/A harness without its long runs: what a plant does, what counts as found, missed and false, what the page says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benches import worker
from kernels.op import Inputs, Kernel
from kernels.registry import OPS
from tests.aa import page, plant, trial
from tests.aa.__main__ import good, main
from tests.aa.plant import SENTINELS, Plant, parse
from tests.aa.trial import SLOWDOWN, Trial, judge
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
    monkeypatch.setitem(impls, "torch", replace(impls["torch"], build="tests.aa.plant:load_counted"))  # type: ignore[arg-type]
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


def test_a_planted_slowdown_is_counted_as_found_and_the_rest_as_same_code(tmp_path: Path) -> None:
    found = judge(*runs(tmp_path, SLOWDOWN), SPEC)
    assert found.planted == found.found > 0
    assert (found.missed, found.called, found.name) == (0, [], "a → b")
    assert good([found])


def test_what_is_called_falsely_or_missed_fails(tmp_path: Path) -> None:
    falsely = judge(*runs(tmp_path, SLOWDOWN, other=2.0), SPEC)
    assert falsely.called == ["matmul-torch-fp32-64x1024x1024", "mean of matmul torch fp32"]
    assert falsely.found == falsely.planted
    assert not good([falsely])
    missed = judge(*runs(tmp_path / "missed", 1.0), SPEC)
    assert missed.found == 0
    assert missed.missed + missed.planted_unclear == missed.planted
    assert not good([missed])
    same = judge(*runs(tmp_path / "same", 1.0), None)
    assert (same.planted, same.called) == (0, [])
    assert good([same])


def test_sentinels_are_never_planted() -> None:
    for point in SENTINELS:
        op, impl = point.split("-")[:2]
        assert not Plant(op, impl).hits(point, op, impl)


def test_the_page_holds_the_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PAGE", tmp_path / "aa.md")
    verdicts = {"slower": 1, "faster": 0, "unclear": 4, "same": 50}
    trials = [
        Trial("run-00 → run-01", verdicts, 1.004, ["matmul-torch-fp32-1x2x3"]),
        Trial("planted-10 → planted-13", {**verdicts, "slower": 20}, None, [], 22, 20, 2),
    ]
    text = page.write_page(trials, "smoke", SPEC).read_text(encoding="utf-8")
    assert "| run-00 → run-01 | 55 | 1 | 0 | 4 | 50 | 1.004× | 1 | – | – | – | – |" in text
    assert "| planted-10 → planted-13 | 74 | 20 | 0 | 4 | 50 | – | 0 | 22 | 20 | 2 | 0 |" in text
    assert "1 A/A pairs of runs with 55 pairs of points: 1 called slower or faster" in text
    assert "of 22 points slowed by 1.3× 20 found, 0 others called" in text
    assert "- run-00 → run-01: matmul-torch-fp32-1x2x3" in text
    assert "10 times, then 13 times: 1.3× by" in text


def test_a_run_that_fails_is_a_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "1", "--sweep", str(tmp_path / "none.yaml"), "--folder", str(tmp_path / "runs")]) == 2
    assert "run run-00 ended with 4; see" in capsys.readouterr().err


def test_a_run_that_came_to_its_end_is_kept(tmp_path: Path) -> None:
    whole = write_run(tmp_path / "run-00", rows_of(), {**ENVIRONMENTS["cuda"]})
    assert trial.run(tmp_path, "run-00", "no such sweep") == whole
    assert not trial.ended(write_run(tmp_path / "cut", rows_of(), {**ENVIRONMENTS["cuda"], "finished_utc": None}))
    assert not trial.ended(write_run(tmp_path / "stopped", rows_of(), {**ENVIRONMENTS["cuda"], "interrupted": True}))
    assert not trial.ended(tmp_path / "nowhere")
