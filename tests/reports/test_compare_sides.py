"""`compare` with several runs a side: what becomes of a point that differs from run to run, refusals, what is said."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benches.row import DISTURBED, Row
from reports.__main__ import main
from reports.compare.comparison import Comparison, compare
from reports.compare.side import between, side
from reports.report import load_report
from tests.reports.conftest import ENVIRONMENTS, VERSIONS, write_run
from tests.reports.test_compare import UNTIMED, rerun, rows_of, timed, verdict

pytestmark = pytest.mark.slow

KIND = "cpu"


def runs(tmp_path: Path, name: str, count: int, slower: Callable[[Row], float] = lambda row: 1.0, noise: float = 0.02) -> list[Path]:
    """Runs of the same code on a CPU."""
    rows, seed = rows_of(KIND), ord(name)
    made = [rerun(rows, seed=100 * seed + i, noise=noise, slower=slower) for i in range(count)]
    return [write_run(tmp_path / f"{name}{i}", made[i], ENVIRONMENTS[KIND]) for i in range(count)]


def compared(a: list[Path], b: list[Path]) -> Comparison:
    return compare(*([load_report(run) for run in of] for of in (a, b)))


def change(run: Path, place: int, **changes: Any) -> str:
    """Rewrites one row of a run; its point."""
    lines = run.joinpath("rows.jsonl").read_text(encoding="utf-8").splitlines()
    row = Row.model_validate_json(lines[place]).model_copy(update=changes)
    lines[place] = row.model_dump_json()
    run.joinpath("rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return row.point


def test_several_runs_find_what_one_cannot(tmp_path: Path) -> None:
    """Runs that differ by 5%, and elementwise that takes 1.33 times as long."""
    a = runs(tmp_path, "a", 5, noise=0.05)
    b = runs(tmp_path, "b", 5, lambda row: 4 / 3 if row.op == "elementwise" else 1.0, noise=0.05)
    found = compared(a, b)
    assert set(found.of("slower")["op"]) == {"elementwise"}
    assert len(found.of("slower")) >= 0.8 * found.pairs["op"].eq("elementwise").sum()
    assert found.of("faster").empty
    assert len(compared(a[:1], b[:1]).of("slower")) < len(found.of("slower")) / 2
    assert {family.op for family in found.families if family.verdict == "slower"} == {"elementwise"}


def test_the_ratio_is_of_geometric_means_and_its_interval_a_two_sample_t(tmp_path: Path) -> None:
    from scipy.stats import t  # a second and more, which only this file needs

    a, b = runs(tmp_path, "a", 3, noise=0.0), runs(tmp_path, "b", 4, noise=0.0)
    place = next(i for i, row in enumerate(rows_of(KIND)) if row.median_s is not None)
    row, logs = rows_of(KIND)[place], ([0.0, 0.1, 0.2], [0.3, 0.3, 0.4, 0.4])
    for of, steps in zip((a, b), logs, strict=True):
        for run, step in zip(of, steps, strict=True):
            point = change(run, place, **timed(row, math.exp(step)).model_dump(include={"median_s", "ci_low_s", "ci_high_s", "samples_s"}))
    line = compared(a, b).table.set_index("point").loc[point]
    assert line["ratio"] == pytest.approx(math.exp(0.35 - 0.1))
    squares, free = 0.02 + 0.01, 5  # by hand: of 0, .1, .2 around .1, and of .3, .3, .4, .4 around .35
    reach = t.ppf(0.975, free) * math.sqrt(squares / free * (1 / 3 + 1 / 4))
    assert math.log(line["high"] / line["ratio"]) == pytest.approx(reach, rel=1e-6), "the others do not vary at all: nothing is borrowed"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([{"status": "crashed", "reason": "signal 11", **UNTIMED}], ("fails now", "ok → crashed: signal 11")),
        ([{"status": "noisy", "reason": "±9%"}] * 3, None),  # what that did to the medians is in their spread
        ([{"status": "noisy", "cause": DISTURBED, "reason": "other processes took 1.5 of 2 cores"}], None),
        (
            [{"status": "noisy", "cause": DISTURBED, "reason": "other processes took 1.5 of 2 cores"}] * 2,
            ("unclear", "noisy in B (in 2 of 3 runs: other processes took 1.5 of 2 cores)"),
        ),
        ([{"status": "throttled", "reason": "heat"}], ("unclear", "throttled in B (in 1 of 3 runs: heat)")),
    ],
)
def test_what_becomes_of_a_point_that_ends_otherwise_in_some_runs(
    tmp_path: Path, changes: list[dict[str, Any]], expected: tuple[str, str] | None
) -> None:
    a, b = runs(tmp_path, "a", 3), runs(tmp_path, "b", 3)
    place = next(i for i, row in enumerate(rows_of(KIND)) if row.status == "ok")
    for run, update in zip(b, changes, strict=False):
        point = change(run, place, **update)
    said = verdict(compared(a, b), point)
    assert said == expected if expected else said[0] in ("same", "unclear") and "noisy" not in said[1]


@pytest.mark.parametrize("turned", [False, True])
def test_a_failure_is_not_hidden_by_a_run_that_skipped_the_point(tmp_path: Path, turned: bool) -> None:
    a, b = runs(tmp_path, "a", 2), runs(tmp_path, "b", 2)
    place = next(i for i, row in enumerate(rows_of(KIND)) if row.status == "ok")
    change(b[0], place, status="wrong", reason="element (0, 0)", **UNTIMED)
    point = change(b[1], place, status="skipped", reason="too long", **UNTIMED)
    assert verdict(compared(a, b[::-1] if turned else b), point)[0] == "fails now"


def test_a_point_that_some_runs_lack_is_judged_by_the_others(tmp_path: Path) -> None:
    a, b = runs(tmp_path, "a", 3), runs(tmp_path, "b", 3)
    lines = b[2].joinpath("rows.jsonl").read_text(encoding="utf-8").splitlines()
    place = next(i for i, row in enumerate(rows_of(KIND)) if row.status == "ok")
    b[2].joinpath("rows.jsonl").write_text("\n".join(lines[:place] + lines[place + 1 :]) + "\n", encoding="utf-8")
    of = side([load_report(run) for run in b])
    assert len(of.frame) == len(lines)
    assert len(of.frame.set_index("point").loc[rows_of(KIND)[place].point, "run_medians_s"]) == 2
    found = compared(a, b).table.set_index("point")
    assert len(found) == len(lines)
    assert found.loc[rows_of(KIND)[place].point, "noted"] == "in 2 of 3 runs of B"


def test_one_run_beside_several_is_judged_by_their_spread(tmp_path: Path) -> None:
    a, b = runs(tmp_path, "a", 1, noise=0.0), runs(tmp_path, "b", 5, lambda row: 1.5, noise=0.01)
    found = compared(a, b)
    assert found.pairs["single"].eq(False).all()
    assert len(found.of("slower")) == len(found.pairs)


def test_several_runs_at_the_terminal_and_on_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = runs(tmp_path, "a", 3), runs(tmp_path, "b", 3)
    assert main(["compare", *map(str, a), "--vs", *map(str, b)]) == 0
    captured = capsys.readouterr()
    out = " ".join(captured.out.split())
    assert captured.err == ""
    assert "A a0, a1, a2 · " in out
    assert "3 runs, the first started" in out
    page = (b[2] / "compare-a2.html").read_text(encoding="utf-8")
    assert "A a2 and 2 more · B b2 and 2 more" in page
    assert "Where a side has several runs" in page
    assert "With one run each" not in page


def test_runs_of_a_side_that_differ_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = runs(tmp_path, "a", 2), runs(tmp_path, "b", 2)
    other = {**ENVIRONMENTS[KIND], "versions": {**VERSIONS, "torch": "2.14.0"}, "seed": 9}
    write_run(b[0], rows_of(KIND), other)
    assert main(["compare", *map(str, a), "--vs", *map(str, b)]) == 0
    assert capsys.readouterr().err.splitlines() == [f"warning: {b[0]} and {b[1]} are taken as the same, but differ: torch 2.14.0 → 2.13.0"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a0"], "two runs are compared, 1 named"),
        (["a0", "a1", "b0"], "two runs are compared, 3 named: several of a side go before and after --vs"),
        (["a0", "a1", "--vs", "b0", "a0"], "a0: named twice"),
        (["a0", "a1", "--vs", "b0", "boost"], "all runs of one side must be made in the same way, but their regime differs"),
    ],
)
def test_what_cannot_be_compared_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    runs(tmp_path, "a", 2)
    runs(tmp_path, "b", 1)
    write_run(tmp_path / "boost", [row.model_copy(update={"regime": "boost"}) for row in rows_of(KIND)], ENVIRONMENTS[KIND])
    assert main(["compare", *(one if one.startswith("--") else str(tmp_path / one) for one in arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert len(captured.err.splitlines()) == 1


def test_an_interval_between_runs() -> None:
    """Of logarithms 0, .1 and .2: mean .1, standard deviation .1; Student's t of 2 degrees of freedom at 99%, from a table: 9.925."""
    middle, low, high = between([1.0, math.exp(0.1), math.exp(0.2)])
    assert math.log(middle) == pytest.approx(0.1)
    assert math.log(high) - 0.1 == pytest.approx(9.925 * 0.1 / math.sqrt(3), rel=1e-3)
    assert math.log(low) == pytest.approx(0.2 - math.log(high))
    assert math.isnan(between([1.0])[1])
