"""From the journal to the frame and its files."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest

from benches.row import Mode, Row, Status
from kernels.op import Cost, Point
from reports.build import build_report
from reports.columns import BY_NAME, COLUMNS, CONDITIONS
from reports.palette import STATUSES
from reports.report import load_report
from reports.units import FORMATS


def row_of(status: str, i: int) -> Row:
    from benches.row import new_row

    point = Point(f"matmul-torch-bf16-{i}x1x1", "matmul", "torch", "bf16", {"m": i, "n": 1, "k": 1}, {"layout": "nn"})
    times = {"median_s": 1e-3, "samples_s": [1e-3, 1.1e-3]} if status in ("ok", "noisy", "throttled") else {}
    return new_row(point, Cost(2 * i, 4 * i, 2 * i, 6 * i), status, f"because {i}", **times)  # type: ignore[arg-type]


@pytest.mark.slow
def test_no_status_is_dropped(make_run: Callable[..., Path]) -> None:
    rows = [row_of(status, i) for i, status in enumerate(get_args(Status), 1)]
    run = make_run("cuda", rows=rows)
    frame = load_report(run).frame
    assert frame["status"].tolist() == list(get_args(Status))
    assert frame["reason"].tolist() == [row.reason for row in rows]
    build_report(run)
    assert pd.read_parquet(run / "rows.parquet")["status"].tolist() == list(get_args(Status))
    assert pd.read_csv(run / "rows.csv")["point"].tolist() == [row.point for row in rows]


def test_every_status_has_its_tone() -> None:
    assert set(STATUSES) == set(get_args(Status))


def test_every_column_is_in_the_glossary(make_run: Callable[..., Path]) -> None:
    described = {c.name for c in COLUMNS}
    for kind in ("cpu", "cuda"):
        assert set(load_report(make_run(kind)).frame.columns) <= described
    assert described == set(load_report(make_run("cpu")).frame.columns), "a column that no run has"
    assert all(c.doc for c in COLUMNS)
    assert {c.unit for c in COLUMNS} <= {"", *FORMATS}
    assert len(described) == len(COLUMNS)


@pytest.mark.slow
def test_samples_stay_in_parquet_whole_and_in_order(make_run: Callable[..., Path]) -> None:
    run = make_run("cuda", rows=[row_of("ok", 1)])
    build_report(run)
    assert pd.read_parquet(run / "rows.parquet")["samples_s"][0].tolist() == [1e-3, 1.1e-3]
    assert "samples_s" not in pd.read_csv(run / "rows.csv")


def test_numbers_are_numbers_even_where_all_are_missing(make_run: Callable[..., Path]) -> None:
    frame = load_report(make_run("cuda", rows=[row_of("skipped", 1)])).frame
    text = [c.name for c in COLUMNS if c.numeric and c.name in frame and frame[c.name].dtype.kind not in "fi"]
    assert text == []


def test_how_a_point_was_timed_is_in_the_frame_and_in_words(make_run: Callable[..., Path]) -> None:
    """A row of an older version has no duty; every mode is explained where the column is."""
    rows = [row_of("ok", i) for i in (1, 2)]
    rows[0] = rows[0].model_copy(update={"mode": "host", "launch_bound": True, "duty": 0.25})
    frame = load_report(make_run("cuda", rows=rows)).frame
    for name, told in (("mode", "host"), ("launch_bound", True)):
        assert (frame[name][0], pd.isna(frame[name][1])) == (told, True)
    assert frame["duty"].dtype == float
    assert (frame["duty"][0], pd.isna(frame["duty"][1])) == (0.25, True)
    assert (BY_NAME["duty"].unit, BY_NAME["duty"].group) == ("fraction", CONDITIONS)
    assert get_args(get_args(Row.model_fields["mode"].annotation)[0]) == get_args(Mode)
    assert [mode for mode in get_args(Mode) if f"{mode}: " not in BY_NAME["mode"].doc] == []


def test_a_row_without_the_newer_fields_is_read() -> None:
    old = {name: value for name, value in row_of("ok", 1).model_dump().items() if name not in ("duty", "mode", "launch_bound")}
    row = Row.model_validate(old)
    assert (row.duty, row.mode, row.launch_bound) == (None, None, None)


@pytest.mark.slow
def test_writing_again_leaves_no_temporary_file(make_run: Callable[..., Path]) -> None:
    run = make_run("cpu")
    build_report(run)
    build_report(run)
    names = {"rows.jsonl", "environment.json", "rows.parquet", "rows.csv", "report.html"}
    assert {path.name for path in run.iterdir()} == names
