"""The benchmark of a large history in small, and that a verdict opens no more of it than it needs."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from reports.history.store import first_of_nights, open_history
from studies.histories.large import Measured, cost_of_a_verdict, fill, run_id, table

pytestmark = pytest.mark.slow

RUNS, POINTS = 17, 11


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("large") / "history"
    fill(directory, RUNS, POINTS)
    return directory


def test_the_planted_step_is_confirmed_and_nothing_else(history: Path) -> None:
    found = cost_of_a_verdict(history, RUNS)
    assert found.rows == RUNS * POINTS
    assert found.confirmed == 1


def test_lines_lie_in_the_order_of_points(history: Path) -> None:
    points = pq.read_table(next(history.glob("*.parquet")), columns=["point"])["point"].to_pylist()
    assert points == sorted(points)


@pytest.mark.parametrize(("night", "nights", "opened"), [(16, 5, 6), (16, 16, 17), (16, 90, 17), (8, 3, 12)])
def test_a_verdict_opens_its_nights_and_one_more(history: Path, night: int, nights: int, opened: int) -> None:
    """What is later than the judged run is opened too: it is the query that leaves it out."""
    assert open_history(history, first_of_nights(history, run_id(night), nights)).runs == opened


def test_the_table_names_the_limits() -> None:
    lines = table(Measured(10, 1.25, 1.0, 0.5, 0.4, 10**9, 1), 5)
    assert "| verdict: open, read, judge | 1.2 s | 1.0 s | 10 s |" in lines
    assert lines[-1] == "| memory of that process at most | 1.00 GB | | 2 GB |"
