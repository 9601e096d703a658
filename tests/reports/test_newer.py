"""Runs, histories and first contacts of a newer version, as each command shows them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benches.first_contact.output import SUMMARY
from reports.__main__ import main
from reports.environment import load_environment
from reports.history.record import UnusableRun, run_table
from reports.history.schema import MARK, SCHEMA, VERSION
from reports.history.store import SET_ASIDE, open_history
from reports.refusal import RunError
from reports.report import load_report
from reports.validation.contact import load_checks
from tests.reports.conftest import CPU_CEILINGS, ENVIRONMENTS
from tests.reports.test_validation import CHECKS, contact  # noqa: F401

MakeRun = Callable[..., Path]
NEW: dict[str, Any] = {"status": "preempted", "reason": "another tenant", "tiles": {"m": [1, 2]}, "mfu": 0.5, "mode": "stream"}
WORDS = "written by a newer version of this suite"
UNKNOWN = "field fan_rpm, field mfu, field tiles, mode stream, status preempted"


def renew(run: Path, every: bool = False, changes: dict[str, Any] = NEW) -> str:
    """Makes the first timed row, or every one, a newer version's; the first one's point."""
    rows = [json.loads(line) for line in (run / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    timed = [row for row in rows if row["status"] == "ok"]
    for row in rows if every else timed[:1]:
        row["conditions"] |= {"fan_rpm": 1200} if changes is NEW else {}
        row.update(changes)
    (run / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(timed[0]["point"])


@pytest.mark.slow
def test_the_page_shows_what_it_does_not_know(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run("cuda")
    point = renew(run)
    assert main(["html", str(run)]) == 0
    said = f"1 row in rows.jsonl was {WORDS} ({UNKNOWN}): shown as written"
    assert f"warning: {said}\n" in capsys.readouterr().err
    page = (run / "report.html").read_text(encoding="utf-8")
    assert said in page
    assert 'data-status="preempted"' in page
    for table in (pd.read_parquet(run / "rows.parquet"), pd.read_csv(run / "rows.csv")):
        line = table.set_index("point").loc[point]
        assert (line["status"], line["mode"], line["tiles"]) == ("preempted", "stream", '{"m":[1,2]}')
        assert float(line["fan_rpm"]) == 1200
        assert float(line["newer mfu"]) == 0.5, "not taken for this version's column"


@pytest.mark.slow
def test_compare_names_the_status(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = make_run("cuda"), make_run("cuda", "node")
    (b / "rows.jsonl").write_bytes((a / "rows.jsonl").read_bytes())
    renew(b)
    assert main(["compare", str(a), str(b), "--fail-on-slower", "--all"]) == 0, "no failure that this version knows of"
    told = capsys.readouterr()
    assert f"({UNKNOWN}): shown as written" in told.err
    assert "ok → preempted: another tenant" in " ".join(told.out.split())


@pytest.mark.slow
def test_the_night_is_suspect_where_it_does_not_know_how_points_ended(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("cuda")
    renew(run)
    assert main(["nightly", str(run), "--history", str(tmp_path / "h"), "--json", str(tmp_path / "v.json")]) == 3
    verdict = json.loads((tmp_path / "v.json").read_text(encoding="utf-8"))
    assert verdict["suspect"] == [
        "1 point ended with a status that this version does not know (preempted): judge the run with the version that wrote it."
    ]
    assert f"1 row in rows.jsonl was {WORDS} ({UNKNOWN}): shown as written" in verdict["notes"]


@pytest.mark.slow
def test_fields_alone_make_a_note(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("cuda")
    renew(run, every=True, changes={"version": 9})
    assert main(["nightly", str(run), "--history", str(tmp_path / "h"), "--json", str(tmp_path / "v.json")]) == 0
    assert "(field version): shown as written" in (tmp_path / "v.json").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_run_of_which_nothing_can_be_read_says_why(make_run: MakeRun) -> None:
    run = make_run("cuda")
    renew(run, every=True, changes={"dims": [1, 2], "axes": "mn"})
    with pytest.raises(UnusableRun, match=rf"no rows: \d+ lines in rows\.jsonl left out, {WORDS}: rows\.jsonl:1: Input"):
        run_table(run)
    with pytest.raises(RunError, match=rf"no rows \(\d+ lines in rows\.jsonl left out, {WORDS}"):
        load_report(run)


def test_ceilings_with_more_in_them_are_taken(tmp_path: Path) -> None:
    measured = CPU_CEILINGS | {"fp4_units": 3, "peak_flops_per_s": {**CPU_CEILINGS["peak_flops_per_s"], "fp4": 1e12}}  # type: ignore[dict-item]
    (tmp_path / "environment.json").write_text(json.dumps(ENVIRONMENTS["cpu"] | {"ceilings": measured, "rack": {"row": 3}}))
    found = load_environment(tmp_path)
    assert found.problems == []
    assert found.ceilings is not None
    assert dict(found.ceilings.peak_flops_per_s) == CPU_CEILINGS["peak_flops_per_s"]


def history_file(path: Path, point: str, version: str, schema: pa.Schema) -> None:
    columns = [pa.array([point]) if field.name == "point" else pa.nulls(1, field.type) for field in schema]
    pq.write_table(pa.Table.from_arrays(columns, schema=schema.with_metadata({MARK: version.encode()})), path)


def other(name: str, kind: pa.DataType) -> pa.Schema:
    """The schema with another type of a column."""
    return SCHEMA.set(SCHEMA.get_field_index(name), pa.field(name, kind))


NEXT = str(int(VERSION) + 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "schema", "note"),
    [
        (VERSION, SCHEMA.append(pa.field("fan_rpm", pa.struct({"now": pa.int64()}))), None),
        (NEXT, SCHEMA.append(pa.field("fan_rpm", pa.list_(pa.int64()))), None),
        (NEXT, other("dims", pa.map_(pa.string(), pa.int64())), f"b.parquet was left out: {WORDS}: holds another type of dims"),
        (NEXT, SCHEMA.remove(SCHEMA.get_field_index("regime")), f"b.parquet was left out: {WORDS}: lacks regime"),
        (VERSION, SCHEMA.remove(SCHEMA.get_field_index("regime")), f"b.parquet was set aside, into {SET_ASIDE}/: lacks regime"),
    ],
)
def test_history_files_of_a_newer_version(tmp_path: Path, version: str, schema: pa.Schema, note: str | None) -> None:
    history_file(tmp_path / "a.parquet", "mine", VERSION, SCHEMA)
    history_file(tmp_path / "b.parquet", "newer", version, schema)
    history_file(tmp_path / "c.parquet", "mine too", VERSION, SCHEMA.append(pa.field("fan_rpm", pa.string())))
    opened = open_history(tmp_path)
    found = opened.database.sql("SELECT * FROM history ORDER BY point")
    assert found.columns == SCHEMA.names
    assert [line[SCHEMA.get_field_index("point")] for line in found.fetchall()] == ["mine", "mine too", *([] if note else ["newer"])]
    assert opened.notes == ((note,) if note else ())
    assert (tmp_path / "b.parquet").exists() is not (note is not None and SET_ASIDE in note)


@pytest.mark.slow
def test_checks_of_a_newer_version(contact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    checks = json.loads((contact / SUMMARY).read_text(encoding="utf-8"))
    checks[0] |= {"verdict": "flaky", "tries": 3}
    (contact / SUMMARY).write_text(json.dumps(checks), encoding="utf-8")
    found, notes = load_checks(contact / SUMMARY)
    assert (found[0].verdict, found[0].note) == ("flaky", "tries: 3")
    assert found[1:] == CHECKS[1:]
    assert notes == [f"summary.json was {WORDS} (field tries, verdict flaky): shown as written"]
    with (contact / "clockwork.jsonl").open("a") as file:
        file.write('[1]\n{"name": "of another form"}\n')
    renew(contact, changes={"status": "preempted"})
    assert main(["validation", str(contact), "-o", str(tmp_path / "out")]) == 0
    assert f"warning: {notes[0]}\n" in capsys.readouterr().err
    (made,) = (tmp_path / "out").iterdir()
    page = (made / "README.md").read_text(encoding="utf-8")
    assert "| step | pass | fail | skipped | unfinished | flaky |" in page
    assert "| clockwork | queue: the launch that waits | 1022 launches | 818 to 1226 | tries: 3 |" in page
    assert "| preempted |" in page
    assert '"preempted"' in (made / "rows.jsonl").read_text(encoding="utf-8")
