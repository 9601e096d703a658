"""Rows of a newer version: those that can be read are read, the others are reported, and none is called damaged or cut off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benches.row import NewerRow
from benches.run import resume
from benches.run.journal import read_journal
from benches.run.pool import Pool, Worker
from benches.run.run import Request, Run, RunError
from benches.run.sentinels import Reading, read_sentinels
from tests.benches.run.test_journal import row

GOOD = json.loads(row().model_dump_json())


def written(folder: Path, *lines: dict[str, Any]) -> Path:
    (folder / "rows.jsonl").write_text("".join(json.dumps({**GOOD, "point": f"p{i}", **line}) + "\n" for i, line in enumerate(lines)))
    return folder


@pytest.mark.parametrize(
    ("changes", "unknown"),
    [
        ({"status": "preempted"}, "status preempted"),
        ({"mode": "green context"}, "mode green context"),
        ({"cache": "l1-hot"}, "cache l1-hot"),
        ({"version": 2}, "field version"),
        ({"tiles": {"m": [1, 2]}, "status": "flaky"}, "field tiles, status flaky"),
        ({"conditions": {"fan_rpm": -1.5, "power_w": 3.0}}, "field fan_rpm"),
    ],
)
def test_what_a_newer_version_writes_is_kept(changes: dict[str, Any], unknown: str, tmp_path: Path) -> None:
    contents = read_journal(written(tmp_path, {}, changes))
    assert contents.newer
    assert (contents.problems, contents.unread) == ([], [])
    assert contents.notes() == [f"1 row in rows.jsonl was written by a newer version of this suite ({unknown}): shown as written"]
    kept = contents.rows[1]
    assert isinstance(kept, NewerRow)
    assert not isinstance(contents.rows[0], NewerRow)
    again = json.loads(kept.model_dump_json())
    assert {name: again[name] for name in changes if name != "conditions"} == {k: v for k, v in changes.items() if k != "conditions"}
    assert changes.get("conditions", {}).items() <= again["conditions"].items()


def test_what_cannot_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    contents = read_journal(written(tmp_path, {}, {"dims": [1, 2], "axes": "mnk"}, {"dims": [1, 2]}))
    assert [one.point for one in contents.rows] == ["p0"]
    assert contents.unread == ["rows.jsonl:2: Input should be an object"]
    assert contents.problems == ["rows.jsonl:3: no row: Input should be an object"]
    assert contents.notes() == [
        "1 damaged line in rows.jsonl left out: rows.jsonl:3: no row: Input should be an object",
        "1 line in rows.jsonl left out, written by a newer version of this suite: rows.jsonl:2: Input should be an object",
    ]


def test_a_last_line_without_its_end_is_cut_off_only_where_it_is_torn(tmp_path: Path) -> None:
    path = written(tmp_path, {}, {"status": "preempted"}) / "rows.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert resume.repair(tmp_path) is None
    assert path.read_bytes() == whole
    path.write_bytes(whole[:-2])
    assert str(resume.repair(tmp_path)).startswith("rows.jsonl: the last line was torn")
    assert [one.point for one in read_journal(tmp_path).rows] == ["p0"]


class Same:
    """A measurer on the machine of the resumed run."""

    closed = False

    def describe(self) -> dict[str, Any]:
        return {"device_kind": "cpu"}

    def close(self) -> None:
        self.closed = True


def test_a_run_of_a_newer_version_is_not_resumed(tmp_path: Path) -> None:
    measurer: Any = Same()
    Run(tmp_path, lambda: Pool([Worker(measurer)]), Request("the sweep", [], 1, {})).finish(interrupted=True)
    before = written(tmp_path, {"status": "preempted"}).joinpath("rows.jsonl").read_bytes()
    with pytest.raises(RunError, match="cannot be resumed: it was written by a newer version of this suite: resume it with that version"):
        Run(tmp_path, lambda: Pool([Worker(measurer)]), Request("the sweep", [], 1, {}, resuming=True))
    assert measurer.closed
    assert (tmp_path / "rows.jsonl").read_bytes() == before


def test_a_sentinels_reading_with_more_in_it_is_read(tmp_path: Path) -> None:
    lines = [{"name": "copy", "at_s": 1.0, "utc": "u", "median_s": 2.0, "fan_rpm": 5}, {"name": "copy"}, []]
    (tmp_path / "sentinels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_sentinels(tmp_path) == [Reading("copy", 1.0, "u", 2.0)]
