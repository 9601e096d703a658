"""Points that vanish from night to night make a run suspect, and runs are set beside runs that were narrowed alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from reports.history.schema import SCHEMA, SENTINEL
from reports.history.store import add_table, open_history
from reports.nightly.night_verdict import judge
from reports.nightly.nights import SAME_POINTS, expected_points, night_from, previous_run, run_line
from reports.nightly.suspect import missing_points
from reports.verdict.thresholds import load_thresholds
from tests.reports.nights import OF_A_RUN

FIRST = datetime(2026, 10, 1, 20, tzinfo=UTC)
NIGHT = night_from(12)
SIXTY = [f"matmul-torch-bf16-{m}x1x1" for m in range(100, 160)]
Run = tuple[float, Sequence[str], dict[str, Any]]  # day, points, and what is not as in OF_A_RUN


def lines(day: float, points: Sequence[str], changes: dict[str, Any]) -> pa.Table:
    started = FIRST + timedelta(days=day)
    of_run = OF_A_RUN | {"run": f"{started:%Y%m%dT%H%M%SZ}-node", "run_dir": "none", "started_utc": started} | changes
    of_point = [{"point": point, "op": "matmul", "status": "ok", "median_s": 1e-5} for point in points]
    sentinel = {"point": "copy", "op": SENTINEL, "status": SENTINEL, "median_s": 1e-3}
    return pa.Table.from_pylist([of_run | line for line in (*of_point, sentinel)], schema=SCHEMA)


def expected_of(runs: Sequence[Run]) -> list[str]:
    """Points that the last of the runs is expected to have."""
    tables = [lines(*run) for run in runs]
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    database.register("history", pa.concat_tables(tables))
    return expected_points(database, run_line(database, str(tables[-1]["run"][0])), NIGHT)


K: dict[str, Any] = {"narrowed_by": "-k bf16"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([(0, "ab", {})], ""),  # a first night
        ([(0, "abc", {}), (1, "a", {})], "abc"),
        ([(0, "abc", {}), (0.1, "a", {})], ""),  # of the same night
        ([(0, "ab", {}), (1, "bc", {}), (2, "a", {})], "abc"),  # half of two nights
        ([(0, "ab", {}), (1, "a", {}), (2, "a", {}), (3, "a", {})], "a"),
        ([(0, "ab", {}), (0.1, "a", {}), (1, "a", {})], "ab"),  # a night has what one of its runs had
        ([(0, "z", {}), *((day, "a", {}) for day in range(1, 8)), (8, "a", {})], "a"),  # eight nights ago
        ([*((day, "ab", {}) for day in range(4)), *((day, "a", {}) for day in range(4, 7)), (7, "a", {})], "ab"),  # 4 of 7
        ([*((day, "ab", {}) for day in range(3)), *((day, "a", {}) for day in range(3, 7)), (7, "a", {})], "a"),  # 3 of 7
        ([(0, "ab", {}), (1, "a", K)], ""),  # none was narrowed alike
        ([(0, "abc", {}), (1, "a", K), (2, "a", K)], "a"),
        ([(0, "abc", {}), (1, "a", K), (2, "ab", {})], "abc"),
        ([(0, "abc", {"sweep": "smoke"}), (1, "a", {})], ""),
        ([(0, "abc", {"device_name": "H200"}), (1, "a", {})], ""),
        ([(0, "abc", {"driver": "1"}), (1, "a", {})], "abc"),  # a new driver keeps the points
        ([(0, "abc", {"device_uuid": "GPU-1"}), (1, "a", {"device_uuid": "GPU-2"})], "abc"),
        ([(0, "a", {}), (1, "a", {}), (2, "abc", {})], "a"),
    ],
)
def test_points_that_a_run_is_expected_to_have(runs: Sequence[Run], expected: str) -> None:
    assert expected_of(runs) == list(expected)


@pytest.mark.parametrize(
    ("expected", "present", "line"),
    [
        (0, 0, None),
        (60, 60, None),
        (60, 57, None),  # 95%
        (60, 56, "56 of 60 points that the nights before had were measured: p56, p57, p58 and 1 more are missing."),
        (60, 1, "1 of 60 points that the nights before had were measured: p1, p2, p3 and 56 more are missing."),
        (1, 0, "0 of 1 points that the nights before had were measured: p0 is missing."),
        (3, 1, "1 of 3 points that the nights before had were measured: p1, p2 are missing."),
    ],
)
def test_too_many_missing_points_are_said(expected: int, present: int, line: str | None) -> None:
    told = missing_points([f"p{i}" for i in range(expected)], {f"p{i}" for i in range(present)} | {"new"})
    assert [text.split(" Check how")[0] for text in told] == ([line] if line else [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("points", "changes", "exit_code"),
    [(SIXTY[:57], {}, 0), (SIXTY[:1], {}, 3), (SIXTY[:1], K, 0), ([*SIXTY[:1], *map(str, range(59))], {}, 3)],
)
def test_a_run_without_its_points_is_suspect(tmp_path: Path, points: Sequence[str], changes: dict[str, Any], exit_code: int) -> None:
    for day in range(3):
        add_table(tmp_path, lines(day, SIXTY, {}))
    run = add_table(tmp_path, lines(3, points, changes))
    verdict = judge(open_history(tmp_path).database, run, load_thresholds()).verdict
    assert verdict.exit_code == exit_code, verdict.suspect
    assert [point for line in verdict.suspect for point in SIXTY if f"{point}," in line] == (SIXTY[1:3] if exit_code else [])
    vanished = [change.point for change in verdict.statuses if change.after is None]
    assert vanished == ([] if changes else [point for point in SIXTY if point not in points]), "of runs narrowed alike only"


def test_the_environment_is_compared_with_the_last_run_however_narrowed() -> None:
    tables = [lines(0, "ab", {"driver": "1"} | K), lines(1, "ab", {"driver": "2"}), lines(2, "a", K)]
    database = duckdb.connect()
    database.register("history", pa.concat_tables(tables))
    tonight = run_line(database, str(tables[-1]["run"][0]))
    assert previous_run(database, tonight) == str(tables[1]["run"][0])
    assert previous_run(database, tonight, SAME_POINTS) == str(tables[0]["run"][0])
