"""The journal: rows.jsonl, one row a line, on disk before the next point starts. The source of truth of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from benches.row import Row

NAME = "rows.jsonl"


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
            os.fsync(self._file.fileno())
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
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = Row.model_validate_json(line)
        except ValidationError as e:
            problems.append(f"{path.name}:{number}: no row: {e.errors()[0]['msg']}")
            continue
        rows[row.point] = row
    return Contents(list(rows.values()), problems)
