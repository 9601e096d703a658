"""What is in the journal survives what happens to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benches.row import Row, new_row
from benches.run.journal import Journal, JournalError, read_journal
from kernels.registry import OPS


def row(m: int = 127, **fields: object) -> Row:
    op = OPS["matmul"]
    point = op.point("torch", "bf16", {"m": m, "n": 129, "k": 1}, {"layout": "nt"}, label="a, b")
    return new_row(point, op.cost(point, "cuda"), "ok", samples_s=[0.1 + 0.2, 1e-9], median_s=0.15, **fields)


def write(run_dir: Path, *rows: Row) -> None:
    journal = Journal(run_dir)
    for one in rows:
        journal.append(one)
    journal.close()


def test_rows_come_back_to_the_bit(tmp_path: Path) -> None:
    written = [row(1), row(2, peak_memory_bytes=2**40)]
    write(tmp_path, *written)
    contents = read_journal(tmp_path)
    assert contents.rows == written
    assert contents.problems == []
    assert contents.rows[0].layout == "nt"
    assert contents.rows[0].flops == 2 * 1 * 129 * 1


def test_each_row_is_on_disk_before_the_next(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for m in range(1, 4):
        journal.append(row(m))
        assert len(read_journal(tmp_path).rows) == m


def test_a_torn_last_line_costs_that_row_only(tmp_path: Path) -> None:
    write(tmp_path, row(1), row(2))
    path = tmp_path / "rows.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    contents = read_journal(tmp_path)
    assert [r.dims["m"] for r in contents.rows] == [1]
    assert len(contents.problems) == 1
    assert contents.problems[0].startswith("rows.jsonl:2: no row: ")


def test_a_point_run_again_counts_once_by_its_last_row(tmp_path: Path) -> None:
    write(tmp_path, row(1), row(2), row(1, config="second"))
    contents = read_journal(tmp_path)
    assert [(r.dims["m"], r.config) for r in contents.rows] == [(1, "second"), (2, None)]


def test_unknown_fields_are_damage(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"point": "x"}\n[]\nnull\n\xff\n\n', encoding="latin-1")
    contents = read_journal(tmp_path)
    assert contents.rows == []
    assert len(contents.problems) == 4


@given(st.binary(max_size=300))
def test_any_bytes_are_rows_or_problems(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "rows.jsonl").write_bytes(data)
    contents = read_journal(folder)
    lines = [line for line in data.splitlines() if line.strip()]
    assert len(contents.rows) + len(contents.problems) == len(lines)


def test_an_unwritable_place_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"rows\.jsonl: cannot be written: No such file"):
        Journal(tmp_path / "absent")


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    monkeypatch.setattr("benches.run.journal.NAME", "full")
    with pytest.raises(JournalError, match="No space left on device; make room"):
        Journal(Path("/dev")).append(row())
