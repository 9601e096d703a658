"""Runs of parts become one: what is complete, what is missing, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benches.__main__ import main
from benches.row import INTERRUPTED, Row, new_row
from benches.run.journal import read_journal
from benches.run.sentinels import read_sentinels
from benches.shards.split import shard_points
from benches.sweep.load import load_sweep
from kernels.registry import OPS

SWEEP = "name: seven\nsweeps:\n  - {op: matmul, impl: torch, precision: bf16, dims: {m: {range: [1, 7, 1]}, n: 127, k: 129}}\n"
ABOUT: dict[str, Any] = {"device_kind": "simulated", "device_name": "simulated H100", "driver": "580", "seed": 1, "sweeps": ["seven"]}


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """Writes the run of a part, or of the points named."""
    (tmp_path / "seven.yaml").write_text(SWEEP, encoding="utf-8")
    sweep = load_sweep(tmp_path / "seven.yaml")

    def run(name: str, shard: str | None, points: set[int] | None = None, row: dict[str, Any] | None = None, **about: Any) -> Path:
        folder = tmp_path / name
        (folder / "errors").mkdir(parents=True)
        chosen = [p for p in (shard_points(sweep, shard) if shard else sweep.points) if points is None or p.dims["m"] in points]
        lines = [made(p, **(row or {})).model_dump_json() + "\n" for p in chosen]
        (folder / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
        (folder / "sweep.yaml").write_text(sweep.resolved, encoding="utf-8")
        part = {"shard": shard, "narrowed_by": f"--shard {shard}"} if shard else {}
        wrong = about.pop("wrong", {})
        environment = ABOUT | {"host": f"host-{name}", "device_uuid": f"GPU-{name}", "interrupted": False} | part | about | wrong
        (folder / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
        (folder / "errors" / f"{name}.txt").write_text("whole message", encoding="utf-8")
        reading = {"name": "copy", "at_s": 1.0, "utc": "u", "median_s": 2.0}
        (folder / "sentinels.jsonl").write_text(json.dumps(reading) + "\n", encoding="utf-8")
        return folder

    return run


def made(point: Any, status: Any = "ok", samples_s: tuple[float, ...] = (1e-3, 2e-3), **fields: Any) -> Row:
    timed = {"median_s": 1e-3, "samples_s": list(samples_s)} if status == "ok" else {}
    return new_row(point, OPS["matmul"].cost(point, "cuda"), status, **timed, **fields)


def merged(*runs: Path) -> tuple[int, Path]:
    out = runs[0].parent / "merged"
    return main(["merge", *map(str, runs), "-o", str(out)]), out


def test_all_parts_are_a_complete_run(make: Any) -> None:
    runs = [make(f"r{k}", f"{k}/3") for k in (1, 2, 3)]
    code, out = merged(*runs)
    assert code == 0
    rows = read_journal(out).rows
    assert sorted(row.dims["m"] for row in rows) == [1, 2, 3, 4, 5, 6, 7]
    assert {row.point: row.host for row in rows} == {row.point: f"host-{run.name}" for run in runs for row in read_journal(run).rows}
    environment = json.loads((out / "environment.json").read_text(encoding="utf-8"))
    assert (environment["host"], environment["device_uuid"], environment["narrowed_by"]) == (None, None, None)
    assert environment["device_name"] == "simulated H100"
    assert environment["interrupted"] is False
    assert [part["shard"] for part in environment["merged_from"]] == ["1/3", "2/3", "3/3"]
    assert "shard" not in environment
    assert sorted(path.name for path in (out / "errors").iterdir()) == ["r1.txt", "r2.txt", "r3.txt"]
    assert sorted(reading.name for reading in read_sentinels(out)) == ["copy (part1)", "copy (part2)", "copy (part3)"]
    assert not list(out.parent.glob(".merged*"))


MISSING: dict[str, tuple[list[tuple[str, str | None, dict[str, Any]]], str]] = {
    "a part": ([("a", "1/3", {}), ("c", "3/3", {})], "missing: --shard 2/3: no run of it (2 points)"),
    "points": ([("a", None, {"points": {1, 2, 3, 5, 6, 7}})], "missing: no row: matmul-torch-bf16-4x127x129"),
    "an interrupted point": (
        [("a", None, {"points": {1, 2, 3, 4, 5, 6}}), ("b", None, {"points": {7}, "row": {"status": "error", "cause": INTERRUPTED}})],
        "missing: interrupted or not timed: matmul-torch-bf16-7x127x129",
    ),
    "a narrowed part": ([("a", "1/2", {"narrowed_by": "-k bf16 --shard 1/2"})], "missing: --shard 2/2: no run of it"),
    "a narrowed run's end": ([("a", None, {"narrowed_by": "-k bf16", "points": {1}, "interrupted": True})], "/a did not finish"),
}


@pytest.mark.parametrize("case", MISSING)
def test_something_missing_is_named_and_the_rest_is_written(case: str, make: Any, capsys: pytest.CaptureFixture[str]) -> None:
    runs, says = MISSING[case]
    code, out = merged(*(make(name, shard, **how) for name, shard, how in runs))
    assert code == 1
    assert says in capsys.readouterr().err
    assert read_journal(out).rows


REFUSED: dict[str, tuple[list[tuple[str, str | None, dict[str, Any]]], str]] = {
    "another seed": ([("a", "1/2", {}), ("b", "2/2", {"seed": 2})], "seed: 1 → 2: not parts of one run"),
    "another driver": ([("a", "1/2", {}), ("b", "2/2", {"driver": "570"})], "driver: 580 → 570"),
    "another model": ([("a", "1/2", {}), ("b", "2/2", {"device_name": "L4"})], "device_name: simulated H100 → L4"),
    "another split": ([("a", "1/2", {}), ("b", "3/3", {})], "3/3 of the sweep, and"),
    "a point twice": ([("a", None, {}), ("b", None, {"points": {5}, "row": {"samples_s": (3e-3,)}})], "with other results: leave one"),
    "a shard that is a number": (
        [("a", "1/2", {}), ("b", "2/2", {"wrong": {"shard": 7}})],
        "b/environment.json: shard: Input should be a valid string",
    ),
    "a shard that is none": (
        [("a", "1/2", {}), ("b", "2/2", {"wrong": {"shard": "9/2"}})],
        "b/environment.json: shard: '9/2' is not a part",
    ),
    "a time that is a number": ([("a", "1/2", {"started_utc": 7}), ("b", "2/2", {})], "a/environment.json: started_utc: Input should be"),
    "GPUs without a UUID": ([("a", "1/2", {}), ("b", "2/2", {"gpus": [{"index": 1}]})], "b/environment.json: gpus.0.uuid: Field required"),
    "imports of another kind": ([("a", "1/2", {}), ("b", "2/2", {"imports": ["x.py"]})], "b/environment.json: imports.0: Input should be"),
    "two ends": ([("a", None, {}), ("b", None, {"points": {5}, "row": {"status": "oom"}})], "with other results: leave one"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_writes_nothing(case: str, make: Any, capsys: pytest.CaptureFixture[str]) -> None:
    runs, says = REFUSED[case]
    code, out = merged(*(make(name, shard, **how) for name, shard, how in runs))
    error = capsys.readouterr().err
    assert (code, error.count("\n")) == (2, 1)
    assert says in error
    assert not out.exists()


def test_a_point_twice_with_the_same_samples_counts_once(make: Any) -> None:
    code, out = merged(make("a", None), make("b", None, points={2, 5}))
    assert code == 0
    assert len(read_journal(out).rows) == 7


def test_a_run_that_is_listed_twice_is_refused(make: Any, capsys: pytest.CaptureFixture[str]) -> None:
    one = make("a", "1/2")
    code, out = merged(one, make("b", "2/2"), one.parent / "b" / ".." / "a")
    assert (code, out.exists()) == (2, False)
    assert "a is listed twice: list each run once" in capsys.readouterr().err


def test_a_measured_row_replaces_an_interrupted_one(make: Any) -> None:
    code, out = merged(make("a", None, row={"status": "error", "cause": INTERRUPTED}), make("b", None))
    assert code == 0
    assert {row.status for row in read_journal(out).rows} == {"ok"}


@pytest.mark.parametrize("damage", ["no directory", "another sweep", "a survey", "no environment", "the place exists"])
def test_directories_that_are_no_part(damage: str, make: Any, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = make("a", "1/2"), make("b", "2/2")
    if damage == "no directory":
        two = two.parent / "absent"
    elif damage == "another sweep":
        (two / "sweep.yaml").write_text(SWEEP.replace("[1, 7, 1]", "[1, 8, 1]"), encoding="utf-8")
    elif damage == "a survey":
        (two / "survey.json").write_text("{}", encoding="utf-8")
    elif damage == "no environment":
        (two / "environment.json").unlink()
    else:
        (one.parent / "merged").mkdir()
    code, out = merged(one, two)
    error = capsys.readouterr().err
    assert (code, error.count("\n")) == (2, 1)
    assert str(out if damage == "the place exists" else two) in error
    assert not (out / "rows.jsonl").exists()
