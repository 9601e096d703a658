"""The journal: rows.jsonl, one row a line, on disk before the next point starts. The source of truth of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from benches.row import Row
from benches.run.plausible import implausible

NAME = "rows.jsonl"
SYNC = getattr(os, "fdatasync", os.fsync)  # the data and the file's size, not its times: a fifth less to wait for
MAX_LINE = 4_000_000  # bytes; a row of 1,000 samples is about 20 kB


class JournalError(Exception):
    """The journal cannot be written; the message says where and why."""


class Journal:
    """Appends rows. Every row is flushed and fsynced, so that a killed process or machine loses only the point under way."""

    def __init__(self, run_dir: Path):
        self.path = run_dir / NAME
        try:
            self._file: IO[bytes] = self.path.open("ab")
        except OSError as e:
            raise JournalError(f"{self.path}: cannot be written: {e.strerror}") from e

    def append(self, row: Row) -> None:
        """Raises JournalError, for example on a full disk."""
        line = row.model_dump_json(exclude_defaults=False).encode() + b"\n"
        try:
            self._file.write(line)
            self._file.flush()
            SYNC(self._file.fileno())
        except OSError as e:
            raise JournalError(f"{self.path}: cannot be written: {e.strerror}; make room and run again") from e

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class Contents:
    """What a journal holds. `problems` name the lines that are no rows: a torn last one after a kill, or damage."""

    rows: list[Row]
    problems: list[str]


def read_journal(run_dir: Path) -> Contents:
    """Every readable row in order; a point that was run again counts once, by its last row. Raises FileNotFoundError."""
    path = run_dir / NAME
    rows: dict[str, Row] = {}
    problems = []
    with path.open("rb") as file:
        for number, line in enumerate(_lines(file), 1):
            if not line.strip():
                continue
            row = _row(line)
            if isinstance(row, Row):
                rows[row.point] = row
            else:
                problems.append(f"{path.name}:{number}: no row: {row}")
    return Contents(list(rows.values()), problems)


def _row(line: bytes) -> Row | str:
    """The row, or why the line is none."""
    if len(line) > MAX_LINE:
        return f"longer than {MAX_LINE} bytes"
    if b'"point"' not in line:  # ten times as fast to see as by the parser: a file of nothing else is refused in no time
        return "names no point"
    try:
        row = Row.model_validate_json(line)
    except ValidationError as e:
        return str(e.errors(include_input=False, include_url=False)[0]["msg"])
    return implausible(row) or row


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Line by line, so that a journal need not fit in memory; of one that is too long, no more than says so."""
    while part := file.readline(MAX_LINE + 1):
        yield from part.splitlines()
        while len(part) > MAX_LINE and not part.endswith(b"\n"):
            part = file.readline(MAX_LINE + 1)
