"""Damaged runs, case by case: what a journal's line may not say, and what a page must survive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benches.row import Row
from benches.run.environment import read
from benches.run.journal import MAX_LINE, read_journal
from benches.run.plausible import implausible
from reports.__main__ import main
from reports.build import build_report
from reports.environment import load_environment
from reports.report import load_report
from reports.sections.inspection import inspection
from tests.reports.conftest import ENVIRONMENTS, fake_rows, sweep, write_run

ROWS = fake_rows(sweep("small"), "cuda")
GOOD = json.loads(next(row for row in ROWS if row.status == "ok").model_dump_json())


def read_lines(folder: Path, *lines: bytes) -> tuple[list[Row], list[str]]:
    (folder / "rows.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    contents = read_journal(folder)
    return contents.rows, contents.problems


def line(**changed: Any) -> bytes:
    return json.dumps({**GOOD, **changed}).encode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (line(median_s=float("nan")), "median_s is nan"),
        (line(median_s=float("inf")), "median_s is inf"),
        (line(median_s=0.0), "median_s is 0"),
        (line(median_s=-1e-5), "median_s is -1e-05"),
        (line(median_s=5e-324), "median_s is"),
        (line(ci_low_s=float("-inf")), "ci_low_s is -inf"),
        (line(samples_s=[1e-5, float("nan")]), "samples_s holds a time"),
        (line(samples_s=[-1e-5]), "samples_s holds a time"),
        (line(samples_s=[1e308, 1e308]), "samples_s holds a time"),
        (line(dims={"m": 0, "n": 1, "k": 1}), "dim 'm' is not from 1"),
        (line(dims={"m": 2**40, "n": 1, "k": 1}), "dim 'm' is not from 1"),
        (line(flops=-1), "flops is negative"),
        (line(bytes_read=10**100), "bytes_read is negative, not finite or beyond"),
        (line(wall_s=float("inf")), "wall_s is negative, not finite"),
        (line(conditions={"power_w": float("nan")}), "power_w is negative, not finite"),
        (line(status="<b>perfect</b>"), "Input should be 'ok'"),
        (line(status=7), "Input should be 'ok'"),
        (line(**{"<b>": 1}), "Extra inputs are not permitted"),
        (line(**{f"field_{i}": i for i in range(51)}), "Extra inputs are not permitted"),
        (line(dims={"m": "wide"}), "Input should be a valid integer"),
        (line(label="\ud800"), "Invalid JSON"),
        (line()[:-1] + b', "flops": ' + b"9" * 5000 + b"}", ""),
        (b'{"point": ' * 100_000, "Invalid JSON"),
        (b'"point"' + b"x" * MAX_LINE, "longer than"),
        (b"\xff\xfe", "names no point"),
        (b"{}", "names no point"),
        (b"\x00" * 1000, "names no point"),
    ],
)
def test_a_bad_line_costs_itself_only(tmp_path: Path, bad: bytes, why: str) -> None:
    rows, problems = read_lines(tmp_path, bad, line(point="good"))
    assert [row.point for row in rows] == ["good"]
    assert len(problems) == 1
    assert problems[0].startswith(f"rows.jsonl:1: no row: {why}")
    assert problems[0].isprintable()
    assert len(problems[0]) < 300


def test_every_row_that_a_run_writes_is_plausible() -> None:
    assert [why for kind in ("cpu", "cuda") for row in fake_rows(sweep("small"), kind) if (why := implausible(row))] == []


def test_cold_rooms_are_plausible(tmp_path: Path) -> None:
    assert read_lines(tmp_path, line(conditions={"temperature_c": -5.0}))[1] == []


def test_the_last_of_equal_keys_and_points_counts(tmp_path: Path) -> None:
    doubled = line(config="first")[:-1] + b', "config": "second"}'
    rows, problems = read_lines(tmp_path, line(), doubled)
    assert [row.config for row in rows] == ["second"]
    assert problems == []


@pytest.mark.slow
def test_flops_beyond_64_bits_reach_page_and_parquet(tmp_path: Path) -> None:
    """A shape that only a plan can hold is skipped, and its row is like any other."""
    flops = 10**30
    large = ROWS[0].model_copy(update={"point": "large", "flops": flops, "bytes_read": 2**62, "bytes_written": 2**62, "status": "skipped"})
    run = write_run(tmp_path / "run", [*ROWS, large], ENVIRONMENTS["cuda"])
    build_report(run)
    written = pd.read_parquet(run / "rows.parquet").set_index("point")
    assert float(written.loc["large", "flops"]) == pytest.approx(float(flops))
    assert len(written) == len(ROWS) + 1
    assert load_report(run).frame.set_index("point").loc["large", "intensity"] == pytest.approx(flops / 2**63)


@pytest.mark.slow
def test_rows_of_another_version_stay_in_the_table(tmp_path: Path) -> None:
    changes = [{"precision": "fp2"}, {"op": "fft"}, {"options": {"layout": "zz"}}, {"dims": {"q": 3}}, {"impl": "cuda"}]
    others = [ROWS[0].model_copy(update={"point": f"other {i}", **changed}) for i, changed in enumerate(changes)]
    run = write_run(tmp_path / "run", [*ROWS, *others], ENVIRONMENTS["cuda"])
    build_report(run)
    assert {row.point for row in others} <= set(load_report(run).frame["point"])


BAD_JSON = {
    "empty": b"",
    "torn": b'{"host": "a',
    "no object": b"[]",
    "NaN": b'{"seed": NaN}',
    "Infinity": b'{"ceilings": {"peak_flops_per_s": {"fp32": Infinity}, "bandwidth_bytes_per_s": 1}}',
    "deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "surrogate": rb'{"host": "\ud800"}',
    "no UTF-8": b'{"host": "\xff"}',
    "NUL": b"\x00",
    "long integer": b'{"seed": ' + b"9" * 6000 + b"}",
    "huge": b'{"host": "' + b"x" * 20_000_000 + b'"}',
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD_JSON)
def test_corrupt_json_is_told_in_a_line(tmp_path: Path, name: str) -> None:
    run = write_run(tmp_path / "run", ROWS[:5], ENVIRONMENTS["cuda"])
    (run / "inspect.json").write_bytes(BAD_JSON[name])
    section = inspection(load_report(run))
    assert section is not None
    (run / "environment.json").write_bytes(BAD_JSON[name])
    (problem,) = load_environment(run).problems
    assert problem.startswith("environment.json cannot be read: ")
    assert section.empty.startswith("inspect.json ")
    for text in (section.empty, problem):
        assert text.isprintable()
        assert len(text) < 300


@pytest.mark.slow
@pytest.mark.parametrize(("file", "name"), [("environment.json", "surrogate"), ("inspect.json", "deep")])
def test_corrupt_json_gives_a_page_that_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, name: str) -> None:
    run = write_run(tmp_path / "run", ROWS[:5], ENVIRONMENTS["cuda"])
    (run / file).write_bytes(BAD_JSON[name])
    assert main(["html", str(run)]) == 0
    assert "Traceback" not in capsys.readouterr().err
    assert file in (run / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", BAD_JSON)
def test_resuming_from_a_corrupt_environment_is_an_error_that_callers_expect(tmp_path: Path, name: str) -> None:
    (tmp_path / "environment.json").write_bytes(BAD_JSON[name])
    with pytest.raises(ValueError, match=r".+"):
        read(tmp_path)


@pytest.mark.parametrize("key", ["gpu", "device_name"])
def test_a_device_of_any_name_is_one_short_printable_line(tmp_path: Path, key: str) -> None:
    fields = {"device_kind": "cuda", key: "\x1b[2J\u2028" + "x" * 100_000}
    (tmp_path / "environment.json").write_text(json.dumps(fields), encoding="utf-8")
    (problem,) = load_environment(tmp_path).problems
    assert problem.isprintable()
    assert len(problem) < 500


@pytest.mark.filterwarnings("ignore:overflow")
def test_tiny_and_huge_ceilings_leave_no_infinity(tmp_path: Path) -> None:
    for peak in (5e-324, 1e308):
        ceilings = {"peak_flops_per_s": {"fp32": peak, "bf16": peak}, "bandwidth_bytes_per_s": peak}
        run = write_run(tmp_path / f"{peak}", fake_rows(sweep("small"), "cpu"), {**ENVIRONMENTS["cpu"], "ceilings": ceilings})
        numbers = load_report(run).frame.select_dtypes("number")
        assert not numbers.isin([float("inf"), float("-inf")]).any().any()
