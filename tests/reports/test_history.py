"""The history: a run counts once, damage is set aside and said, two at a time are safe, age prunes, others' JSON is taken."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benches.run.journal import read_journal
from kernels.guard import ROOT
from reports.history.foreign import benchmark_table
from reports.history.record import UnusableRun, run_fields, run_id, run_table, started_utc
from reports.history.schema import MARK, SCHEMA, VERSION
from reports.history.store import add_run, add_table, open_history, prune, set_aside, set_unreadable_aside
from tests.reports.conftest import ENVIRONMENTS, fake_rows, sweep

MakeRun = Callable[..., Path]


def count(history: Path) -> tuple[int, int]:
    """Runs and lines."""
    opened = open_history(history)
    row = opened.database.execute("SELECT count(DISTINCT run), count(*) FROM history").fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def test_a_run_added_twice_counts_once(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("cuda")
    first, again = (add_run(tmp_path / "history", run) for _ in range(2))
    assert first == again
    assert count(tmp_path / "history") == (1, len(read_journal(run).rows))


@pytest.mark.parametrize(
    ("name", "neighbour"), [("hist[1]", "hist1"), ("a*b", "aXb"), ("what?", "whatX"), ("[!a]", "b"), ("**", "c"), ("x]y{a,b}", "xya")]
)
def test_a_historys_name_is_not_a_pattern(tmp_path: Path, name: str, neighbour: str) -> None:
    """Its own files are read, and not those of a neighbour that the name would match as a pattern."""
    for folder, points in ((name, ["mine"]), (neighbour, ["theirs", "theirs too"])):
        (tmp_path / folder).mkdir()
        columns = [pa.array(points) if field.name == "point" else pa.nulls(len(points), field.type) for field in SCHEMA]
        pq.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), tmp_path / folder / "20260101T000000Z-a.parquet")
    rows = open_history(tmp_path / name).database.execute("SELECT point FROM history").fetchall()
    assert rows == [("mine",)]


@pytest.mark.slow
def test_a_copy_of_a_run_is_the_same_run(make_run: MakeRun, tmp_path: Path) -> None:
    one, copy = make_run("cuda", "one"), make_run("cuda", "copy")
    assert add_run(tmp_path, one) == add_run(tmp_path, copy)


@pytest.mark.parametrize(
    ("environment", "kept"),
    [
        ({}, (None, None, None, None)),
        (
            {
                "cudnn": 91900,
                "cuda_runtime": "13.0",
                "vbios": "96.00.DA",
                "variables": {"TORCH_HOME": "/x", "OMP_NUM_THREADS": "4", "CUDA_A": "b"},
            },
            ("91900", "13.0", "96.00.DA", '{"CUDA_A": "b", "OMP_NUM_THREADS": "4"}'),
        ),
        ({"cudnn": None, "variables": {}}, (None, None, None, "{}")),
        ({"variables": ["damaged"]}, (None, None, None, None)),
    ],
)
def test_what_times_depend_on_is_kept(environment: dict[str, Any], kept: tuple[str | None, ...]) -> None:
    told = run_fields({**ENVIRONMENTS["cuda"], **environment}, Path("r"))
    assert tuple(told[name] for name in ("cudnn", "cuda_runtime", "vbios", "variables")) == kept


def test_lines_hold_what_the_rows_say(make_run: MakeRun) -> None:
    rows = fake_rows(sweep("small"), "cuda")
    rows[0] = rows[0].model_copy(update={"cost_source": "counted", "tolerance": "estimated"})
    run = make_run("cuda", rows=rows)
    table = run_table(run)
    assert table.schema.equals(SCHEMA, check_metadata=False)
    by_point = {line["point"]: line for line in table.to_pylist()}
    for row in read_journal(run).rows:
        line = by_point[row.point]
        assert (line["status"], line["median_s"], line["sm_clock_hz"]) == (row.status, row.median_s, row.conditions.sm_clock_hz)
        assert (line["mode"], line["duty"]) == (row.mode, row.duty) == (("events", 0.75) if row.median_s else (None, None))
        assert (line["cost_source"], line["tolerance"]) == (row.cost_source, row.tolerance)
        assert (line["torch"], line["driver"], line["device_name"]) == ("2.13.0", "575.57.08", "NVIDIA H100 80GB HBM3")
        assert json.loads(line["dims"]) == row.dims


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_bytes(b"PAR1 torn"), "damaged"),
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: pq.write_table(pa.table({"a": [1]}), path), "not written by this suite"),
        (lambda path: pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({MARK: VERSION.encode()}), path), "lacks run, run_dir"),
    ],
)
def test_what_is_no_run_is_set_aside_and_said(make: Callable[[Path], object], reason: str, make_run: MakeRun, tmp_path: Path) -> None:
    add_run(tmp_path, make_run("cuda"))
    make(tmp_path / "20260101T000000Z-x-0.parquet")
    opened = open_history(tmp_path)
    assert opened.runs == 1
    assert len(opened.notes) == 1
    assert reason in opened.notes[0]
    assert [path.name for path in (tmp_path / "set-aside").iterdir()] == ["20260101T000000Z-x-0.parquet"]
    assert open_history(tmp_path).notes == ()


def test_a_directory_of_other_data_is_left_alone(make_run: MakeRun, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "sales.parquet")
    with pytest.raises(UnusableRun, match="do not belong to a history: name another --history"):
        add_run(tmp_path, make_run("cuda"))
    assert [path.name for path in tmp_path.glob("*.parquet")] == ["sales.parquet"]


def test_nothing_that_was_set_aside_is_lost(make_run: MakeRun, tmp_path: Path) -> None:
    for text in (b"a", b"b"):
        (tmp_path / "bad.parquet").write_bytes(text)
        open_history(tmp_path)
    assert sorted(path.read_bytes() for path in (tmp_path / "set-aside").iterdir()) == [b"a", b"b"]


def test_a_file_that_another_process_has_just_pruned_is_passed_over(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between listing and reading."""
    kept = add_run(tmp_path, make_run())
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [tmp_path / f"{kept}.parquet", tmp_path / "gone.parquet"])
    opened = open_history(tmp_path)
    assert (opened.runs, opened.notes) == (1, ())
    set_aside(tmp_path / "gone.parquet")


def test_a_damaged_page_behind_a_good_footer_is_found_by_reading(make_run: MakeRun, tmp_path: Path) -> None:
    run = add_run(tmp_path, make_run())
    path = tmp_path / f"{run}.parquet"
    data = bytearray(path.read_bytes())
    data[4:2000] = bytes(b ^ 0xFF for b in data[4:2000])
    path.write_bytes(data)
    assert open_history(tmp_path).notes == (), "the footer is as it was"
    notes = set_unreadable_aside(tmp_path)
    assert len(notes) == 1
    assert f"{run}.parquet was set aside" in notes[0]
    assert open_history(tmp_path).runs == 0


ADD = """import sys
from pathlib import Path
from reports.history.store import add_run
for _ in range(5):
    add_run(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_two_at_a_time(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("cuda", "a"), make_run("cpu", "b")]
    processes = [subprocess.Popen([sys.executable, "-c", ADD, tmp_path / "history", run], cwd=ROOT) for run in (*runs, *runs)]
    assert [process.wait(120) for process in processes] == [0] * 4
    assert count(tmp_path / "history") == (2, sum(len(read_journal(run).rows) for run in runs))
    assert {path.suffix for path in (tmp_path / "history").iterdir()} == {".parquet"}


def test_prune_by_age(tmp_path: Path) -> None:
    names = ["20260101T000000Z-a-1", "20260201T000000Z-a-2", "20260301T000000Z-a-3", "not-a-run"]
    for name in names:
        (tmp_path / f"{name}.parquet").write_bytes(b"")
    assert prune(tmp_path, 30, datetime(2026, 3, 2, tzinfo=UTC)) == names[:1]
    assert sorted(path.stem for path in tmp_path.glob("*.parquet")) == sorted(names[1:])


@pytest.mark.parametrize(
    ("environment", "reason"),
    [(None, "missing or unreadable"), ("{", "missing or unreadable"), ('{"host": "a"}', "started_utc is not an ISO 8601 time")],
)
def test_unusable_runs_are_one_line(environment: str | None, reason: str, make_run: MakeRun) -> None:
    run = make_run("cuda")
    path = run / "environment.json"
    path.unlink() if environment is None else path.write_text(environment, encoding="utf-8")
    with pytest.raises(UnusableRun, match=reason) as raised:
        run_table(run)
    assert "\n" not in str(raised.value)


def test_an_empty_directory_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UnusableRun, match=r"no readable rows\.jsonl"):
        run_table(tmp_path)


def test_ids_are_stable_and_tell_runs_apart() -> None:
    one = {"started_utc": "2026-11-01T02:00:00+00:00", "host": "node/17", "device_uuid": "GPU-1"}
    at = started_utc(one["started_utc"])
    assert at is not None
    assert run_id(one, at).startswith("20261101T020000Z-node_17-")
    assert run_id(one, at) == run_id(dict(reversed(one.items())), at) != run_id(one | {"device_uuid": "GPU-2"}, at)


BENCHMARK_JSON = {
    "datetime": "2026-11-02T03:00:00+00:00",
    "machine_info": {"node": "n", "cpu": {"brand_raw": "AMD EPYC"}},
    "commit_info": {"id": "abc", "dirty": False},
    "benchmarks": [
        {"name": "test_a[1]", "group": "g", "stats": {"median": 0.5}},
        {"name": "test_b[2]", "stats": {"median": 0.25, "mean": 1}, "extra_info": {"point": "matmul-torch-bf16-1x2x3"}},
    ],
}


def test_import_of_pytest_benchmark(tmp_path: Path) -> None:
    path = tmp_path / "0001.json"
    path.write_text(json.dumps(BENCHMARK_JSON), encoding="utf-8")
    add_table(tmp_path / "h", benchmark_table(path))
    found = open_history(tmp_path / "h").database.sql("SELECT point, median_s, device_kind, device_name, commit FROM history ORDER BY 1")
    assert found.fetchall() == [
        ("matmul-torch-bf16-1x2x3", 0.25, "imported", "AMD EPYC", "abc"),
        ("test_a[1]", 0.5, "imported", "AMD EPYC", "abc"),
    ]


@pytest.mark.parametrize("name", ["test_matmul[matmul-torch-bf16-1x2x3]", "test_point[matmul-torch-bf16-1x2x3]"])
def test_imported_points_pair_whatever_their_test_was_called(name: str, tmp_path: Path) -> None:
    path = tmp_path / "0001.json"
    path.write_text(json.dumps(BENCHMARK_JSON | {"benchmarks": [{"name": name, "stats": {"median": 0.5}}]}), encoding="utf-8")
    assert benchmark_table(path)["point"].to_pylist() == ["matmul-torch-bf16-1x2x3"]


@pytest.mark.parametrize(
    ("tests", "points"),
    [
        ([("test_a", "t/x.py::test_a"), ("test_b", "t/y.py::test_b")], ["test_a", "test_b"]),
        ([("test_a", "t/x.py::test_a"), ("test_a", "t/y.py::test_a")], ["t/x.py::test_a", "t/y.py::test_a"]),
        ([("test_a", None), ("test_a", None), ("test_a", None)], ["test_a", "test_a (2)", "test_a (3)"]),
        ([("a", "x.py::a"), ("a", "x.py::a"), ("a (2)", None)], ["x.py::a", "x.py::a (2)", "a (2)"]),
        ([("a (2)", None), ("a", None), ("a", None)], ["a (2)", "a", "a (3)"]),
        ([("a[1]", "x.py::A::a[1]"), ("a[1]", "x.py::B::a[1]")], ["x.py::A::a[1]", "x.py::B::a[1]"]),
    ],
)
def test_tests_of_one_name_are_all_kept(tests: list[tuple[str, str | None]], points: list[str], tmp_path: Path) -> None:
    benchmarks = [{"name": name, "fullname": full, "stats": {"median": 1 + i}} for i, (name, full) in enumerate(tests)]
    path = tmp_path / "0001.json"
    path.write_text(json.dumps(BENCHMARK_JSON | {"benchmarks": benchmarks}), encoding="utf-8")
    table = benchmark_table(path)
    assert table["point"].to_pylist() == points
    assert table["median_s"].to_pylist() == [1 + i for i in range(len(tests))]


def test_files_of_the_same_second_are_two_runs_and_a_file_added_again_is_one(tmp_path: Path) -> None:
    for name, median in (("a", 0.5), ("b", 0.25), ("again", 0.5)):
        benchmarks = [{"name": "test_x", "fullname": f"{name}.py::test_x", "stats": {"median": median}}]
        (tmp_path / f"{name}.json").write_text(json.dumps(BENCHMARK_JSON | {"benchmarks": benchmarks}), encoding="utf-8")
        add_table(tmp_path / "h", benchmark_table(tmp_path / f"{name}.json"))
    assert count(tmp_path / "h") == (2, 2)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "not a pytest-benchmark JSON"),
        ("{", "not a pytest-benchmark JSON"),
        (json.dumps(BENCHMARK_JSON | {"benchmarks": []}), "holds no benchmarks"),
        (json.dumps(BENCHMARK_JSON | {"datetime": "yesterday"}), "not an ISO 8601 time"),
        (json.dumps(BENCHMARK_JSON | {"benchmarks": [{"name": "a", "stats": {"median": -1}}]}), r"benchmarks\.0\.stats\.median"),
    ],
)
def test_foreign_mistakes_are_one_line(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UnusableRun, match=reason) as raised:
        benchmark_table(path)
    assert "\n" not in str(raised.value)
