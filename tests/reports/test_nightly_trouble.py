"""Nights on which something goes wrong around the verdict: nothing that was measured or found may be lost by it."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benches.row import Row
from reports.__main__ import main
from reports.history.record import run_fields
from reports.history.store import add_run
from reports.nightly import index
from reports.nightly.model import Said
from reports.nightly.night import Night, enough_nights, judge_run
from reports.nightly.nights import EACH_RUN, comparable_nights
from reports.nightly.rerun import how_measured
from reports.verdict.rule import DEFAULT
from reports.verdict.scan import scan
from tests.reports.conftest import ENVIRONMENTS, write_run
from tests.reports.test_compare import UNTIMED, rerun, rows_of

pytestmark = pytest.mark.slow

FIRST = datetime(2026, 9, 1, 2, tzinfo=UTC)
ROWS = [row for row in rows_of() if row.op in ("matmul", "elementwise")]
SLOW = next(row.point for row in ROWS if row.median_s is not None)


def measured(folder: Path, day: float, rows: list[Row] | None = None, **changes: Any) -> Path:
    """A night's run; rows: default the same code again."""
    started = FIRST + timedelta(days=day)
    told = {"started_utc": started.isoformat(), "finished_utc": (started + timedelta(hours=1)).isoformat(), **changes}
    again = rerun(ROWS, seed=int(10 * day)) if rows is None else rows
    return write_run(folder / f"run-{day:05.1f}", again, {**ENVIRONMENTS["cuda"], **told})


def slower(day: int) -> list[Row]:
    return rerun(ROWS, seed=10 * day, slower=lambda row: 1.2 if row.point == SLOW else 1.0)


def judge(run: Path, history: Path) -> Night:
    return judge_run(run, history)


def keep(night: Night) -> None:
    index.keep(night.history, night.judged.verdict, None)


@pytest.fixture(scope="module")
def fortnight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history of 14 judged nights of the same code; tests copy it."""
    folder = tmp_path_factory.mktemp("fortnight")
    for day in range(14):
        keep(judge(measured(folder, day), folder / "history"))
    return folder / "history"


def test_what_a_killed_judge_did_not_say_the_next_night_says(fortnight: Path, tmp_path: Path) -> None:
    history = shutil.copytree(fortnight, tmp_path / "history")
    confirmed = [judge(measured(tmp_path, day, slower(day)), history) for day in (14, 15, 16)]  # never written: killed each time
    assert [len(night.judged.verdict.regressions) for night in confirmed] == [0, 0, 1]
    later = judge(measured(tmp_path, 17, slower(17)), history)
    assert [change.point for change in later.judged.verdict.regressions] == [SLOW]
    assert later.judged.verdict.exit_code == 1
    keep(later)
    after = judge(measured(tmp_path, 18, slower(18)), history)
    assert after.judged.verdict.regressions == (), "said once"
    assert [change.point for change in after.judged.verdict.changes] == [SLOW]


@pytest.mark.parametrize(
    ("night", "point", "news"),
    [("2026-11-09", "a", False), ("2026-11-11", "a", False), ("2026-11-09", "b", True), ("2026-11-19", "a", True)],
)
def test_what_no_verdict_has_listed_is_news(night: str, point: str, news: bool) -> None:
    """Listed: a, confirmed on the 9th. Ten days later it changed again."""
    assert Said(frozenset({("a", "slower", "2026-11-09")})).covers(point, "slower", night) != news


def test_a_cut_run_between_says_nothing_of_the_points_it_lacks(fortnight: Path, tmp_path: Path) -> None:
    """The judge of the confirming night is killed; the next run is cut short before that point; the one after it is whole."""
    history = shutil.copytree(fortnight, tmp_path / "history")
    for day in (14, 15, 16):
        judge(measured(tmp_path, day, slower(day)), history)
    keep(judge(measured(tmp_path, 17, [row for row in slower(17) if row.point != SLOW]), history))
    assert [change.point for change in judge(measured(tmp_path, 18, slower(18)), history).judged.verdict.regressions] == [SLOW]


def test_a_run_of_few_points_has_the_shift_of_all(fortnight: Path, tmp_path: Path) -> None:
    """The node became 5% slower four nights ago; tonight's run was cut after five points, which by themselves tell no shift."""
    history = shutil.copytree(fortnight, tmp_path / "history")
    for day in range(14, 18):
        keep(judge(measured(tmp_path, day, rerun(ROWS, seed=day, slower=lambda row: 1.05)), history))
    few = [row for row in rerun(ROWS, seed=18, slower=lambda row: 1.05) if row.median_s is not None][:5]
    verdict = judge(measured(tmp_path, 18, few, interrupted=True), history).judged.verdict
    assert verdict.regressions == ()
    assert verdict.exit_code == 3


def test_series_that_can_confirm_nothing_are_not_counted_as_judged() -> None:
    """Five series have no others to borrow from, and after 13 nights no change of any size reaches alpha; after 40 one does. Nor where each
    night goes with the one before."""
    rng = np.random.default_rng(3)
    few = scan(0.01 * rng.standard_normal((5, 13)), np.full(5, 0.015), DEFAULT)
    assert (few.judged[:, -1].sum(), few.unjudgeable) == (0, 5)
    many = scan(0.01 * rng.standard_normal((5, 40)), np.full(5, 0.015), DEFAULT)
    assert (many.judged[:, -1].sum(), many.unjudgeable) == (5, 0)
    walk = 0.01 * rng.standard_normal((40, 60)).cumsum(axis=1)
    assert scan(walk, np.full(40, 0.015), DEFAULT).unjudgeable == 40


def damage_pages(path: Path) -> None:
    """All of a file but its footer."""
    data = bytearray(path.read_bytes())
    pages = len(data) - 8 - int.from_bytes(data[-8:-4], "little")  # the footer's length stands before the closing magic
    data[4:pages] = bytes(b ^ 0xFF for b in data[4:pages])
    path.write_bytes(data)


@pytest.fixture(scope="module")
def nights_of_few(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A history of 74 nights of few points, of which tests copy what they need, and the run directories of these nights and one more."""
    folder = tmp_path_factory.mktemp("few")
    runs = [measured(folder, day, rerun(ROWS[:20], seed=day)) for day in range(75)]
    for run in runs[:-1]:
        add_run(folder / "history", run)
    return folder / "history", runs


def first_nights(history: Path, nights: int, to: Path) -> list[Path]:
    """Copies the first so many nights of a history, a run each, and returns the copies in the order of nights."""
    to.mkdir()
    return [Path(shutil.copy(file, to)) for file in sorted(history.glob("*.parquet"))[:nights]]


@pytest.mark.parametrize(("nights", "which"), [(15, 0), (15, 9), (75, 0), (75, 40)], ids=["first", "recent", "beyond reach", "of many"])
def test_a_damaged_page_costs_its_night_and_no_verdict(
    nights_of_few: tuple[Path, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str], nights: int, which: int
) -> None:
    """Also where only the index of all nights reads it."""
    all_nights, runs = nights_of_few
    history = tmp_path / "history"
    damaged = first_nights(all_nights, nights - 1, history)[which]
    damage_pages(damaged)
    last = shutil.copytree(runs[nights - 1], tmp_path / "run")
    assert main(["nightly", str(last), "--history", str(history)]) == 0
    captured = capsys.readouterr()
    assert f"{damaged.name} was set aside" in " ".join((captured.out + captured.err).split())
    assert (history / "set-aside" / damaged.name).exists()


def test_every_file_set_aside_is_told(nights_of_few: tuple[Path, list[Path]], tmp_path: Path) -> None:
    all_nights, runs = nights_of_few
    history = tmp_path / "history"
    first, second, *_ = first_nights(all_nights, 14, history)
    damage_pages(first)
    second.write_bytes(second.read_bytes()[:-100])
    notes = " ".join(judge(runs[14], history).judged.verdict.notes)
    assert first.name in notes
    assert second.name in notes


@pytest.mark.parametrize(("status", "code"), [("ok", 2), ("wrong", 1)])
def test_a_file_that_cannot_be_written_does_not_change_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], status: str, code: int
) -> None:
    add_run(tmp_path / "history", measured(tmp_path, 0))
    rows = rerun(ROWS, seed=9)
    rows[0] = rows[0].model_copy(update={"status": status, **({} if status == "ok" else UNTIMED)})
    run = measured(tmp_path, 1, rows)
    lost, kept = tmp_path / "none" / "v.json", tmp_path / "v.md"
    assert main(["nightly", str(run), "--history", str(tmp_path / "history"), "--json", str(lost), "--markdown", str(kept)]) == code
    captured = capsys.readouterr()
    assert captured.err == f"error: {lost} was not written: No such file or directory\n"
    assert str(run / "nightly.html") in captured.out
    assert kept.exists(), "the others are written all the same"


def test_an_error_of_ours_is_no_regression(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("reports.nightly.night.judge", lambda *arguments, **more: 1 / 0)
    assert main(["nightly", str(measured(tmp_path, 0)), "--history", str(tmp_path / "history")]) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_weekly_sweep_among_nightly_ones_is_judged(tmp_path: Path) -> None:
    """Fourteen weeks reach further back than sixty nights."""
    history = tmp_path / "history"
    for day in range(0, 98):
        weekly = {"sweeps": ["full"], "seed": day} if day % 7 == 6 else {"sweeps": ["nightly"], "seed": day}
        rows = ROWS[:12] if day % 7 == 6 else ROWS[:1]
        last = measured(tmp_path, day, rerun(rows, seed=day), **weekly)
        run = add_run(history, last)
    opened = enough_nights(history, run, EACH_RUN)
    assert comparable_nights(opened.database, run, EACH_RUN) == 14
    assert judge(last, history).judged.verdict.judged > 0


@pytest.mark.parametrize("cut", [{"finished_utc": None}, {"interrupted": True}])
def test_a_run_that_did_not_end_is_suspect(tmp_path: Path, cut: dict[str, Any]) -> None:
    """Ended by a signal or by its operator."""
    night = judge(measured(tmp_path, 0, **cut), tmp_path / "history")
    assert night.judged.verdict.exit_code == 3
    assert "did not finish" in night.judged.verdict.suspect[0]


@pytest.mark.parametrize("days", ["0", "-3", "nan", "1e12", "soon"])
def test_a_history_is_not_pruned_to_nothing(tmp_path: Path, days: str, capsys: pytest.CaptureFixture[str]) -> None:
    add_run(tmp_path / "history", measured(tmp_path, 0))
    with pytest.raises(SystemExit, match="2"):
        main(["nightly", str(measured(tmp_path, 1)), "--history", str(tmp_path / "history"), "--prune", days])
    assert "--prune" in capsys.readouterr().err
    assert len(list((tmp_path / "history").glob("*.parquet"))) == 1


@pytest.mark.parametrize(
    ("environment", "options"),
    [
        ({"device_kind": "cuda", "cache": "hot", "regime": "boost"}, ["--device", "cuda", "--cache", "hot", "--regime", "boost"]),
        ({"device_kind": "cpu", "cache": None, "regime": "sustained"}, ["--device", "cpu", "--regime", "sustained"]),
        ({"device_kind": "imported"}, []),
    ],
)
def test_a_rerun_measures_as_the_run_did(environment: dict[str, Any], options: list[str]) -> None:
    assert how_measured(environment) == options


def test_other_threads_are_another_series() -> None:
    environment = {**ENVIRONMENTS["cpu"], "started_utc": "2026-11-01T00:00:00+00:00"}
    one = {**environment, "cpu": {"model": "x", "cores": 2, "threads": 1}}
    assert run_fields(environment, Path("r"))["clock_policy"] == "2 threads"
    assert run_fields(one, Path("r"))["clock_policy"] == "1 threads"


def test_a_variable_that_changes_times_makes_a_night_suspect_and_an_older_file_does_not(tmp_path: Path) -> None:
    history = tmp_path / "history"
    nights: list[dict[str, Any]] = [{}, {"variables": {}}, {"variables": {"CUDA_LAUNCH_BLOCKING": "1", "TORCH_HOME": "/x"}}]
    found = [judge(measured(tmp_path, day, **told), history).judged.verdict.suspect for day, told in enumerate(nights)]
    assert found == [(), (), ("The environment changed (CUDA_LAUNCH_BLOCKING: not set → 1): check this first.",)]
