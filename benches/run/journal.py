"""The journal: rows.jsonl, one row a line, on disk before the next point starts. The source of truth of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pydantic import ValidationError
from pydantic_core import from_json

from benches.row import WORD, NewerRow, Row
from benches.run.plausible import implausible
from benches.run.survey_file import is_survey
from kernels.listed import first_of

NAME = "rows.jsonl"
SYNC = getattr(os, "fdatasync", os.fsync)  # the data and the file's size, not its times: a fifth less to wait for
NEWER = "written by a newer version of this suite"
NAMED = 3  # lines of each kind
SURVEY_INSTEAD = "the folder holds a survey: name the folder of one of its GPUs in it, or see `python -m reports survey`"
MAX_UNKNOWN = 50  # fields of a newer version: a line with more is damaged
MAX_LINE = 4_000_000  # bytes; a row of 1,000 samples is about 20 kB


class JournalError(Exception):
    """The journal cannot be written; the message says where and why."""


class Journal:
    """Appends rows. Every row is flushed and fsynced, so that a killed process or machine loses only the point under way."""

    def __init__(self, run_dir: Path, name: str | None = None):
        """name: of the file, if it is not the run's own."""
        self.path = run_dir / (name or NAME)
        try:
            self._file: IO[bytes] = self.path.open("ab")
        except OSError as e:
            raise JournalError(f"{self.path}: cannot be written: {e.strerror}") from e

    def append(self, row: Row) -> None:
        """Raises JournalError, for example on a full disk."""
        self.append_lines([line_of(row)])

    def append_lines(self, lines: Sequence[bytes]) -> None:
        """Appends several lines, with one fsync for all. Raises JournalError."""
        try:
            self._file.writelines(lines)
            self._file.flush()
            SYNC(self._file.fileno())
        except OSError as e:
            raise JournalError(f"{self.path}: cannot be written: {e.strerror}; make room and run again") from e

    def empty(self) -> None:
        """Removes every row. Raises OSError."""
        self._file.truncate(0)
        SYNC(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def line_of(row: Row) -> bytes:
    """Returns a row as the journal holds it."""
    return row.model_dump_json(exclude_defaults=False).encode() + b"\n"


@dataclass(frozen=True)
class Contents:
    """What a journal holds. Rows that a newer version wrote are NewerRow. `problems` names the damaged lines, such as a torn last
    one after a kill; `unread` those of a newer version that this one cannot read."""

    rows: list[Row]
    problems: list[str]
    unread: list[str] = field(default_factory=list)

    @property
    def newer(self) -> bool:
        """Whether a newer version wrote any of it."""
        return bool(self.unread) or any(isinstance(row, NewerRow) for row in self.rows)

    def notes(self) -> list[str]:
        """Returns a sentence each for what is damaged, for what a newer version wrote, and for what of that is not read."""
        found = []
        if self.problems:
            found.append(f"{_count(self.problems, 'damaged line')} in {NAME} left out: {first_of(self.problems, NAMED, '; ')}")
        if self.unread:
            found.append(f"{_count(self.unread, 'line')} in {NAME} left out, {NEWER}: {first_of(self.unread, NAMED, '; ')}")
        newer = [row for row in self.rows if isinstance(row, NewerRow)]
        if newer:
            unknown = ", ".join(sorted({name for row in newer for name in row.unknown_names()}))
            found.append(f"{_count(newer, 'row')} in {NAME} {'was' if len(newer) == 1 else 'were'} {NEWER} ({unknown}): shown as written")
        return found


def _count(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


@dataclass(frozen=True)
class NoRow:
    """Why a line is not a row; `newer`: this version cannot read it because a newer one wrote it."""

    why: str
    newer: bool = False


def read_journal(run_dir: Path) -> Contents:
    """Every readable row in order; a point that was run again counts once, by its last row. Raises OSError."""
    path = run_dir / NAME
    rows: dict[str, Row] = {}
    problems, unread = list[str](), list[str]()
    with _opened(path) as file:
        for number, line in enumerate(lines(file), 1):
            if not line.strip():
                continue
            row = parse_row(line)
            if isinstance(row, Row):
                rows[row.point] = row
            elif row.newer:
                unread.append(f"{path.name}:{number}: {row.why}")
            else:
                problems.append(f"{path.name}:{number}: no row: {row.why}")
    return Contents(list(rows.values()), problems, unread)


def _opened(path: Path) -> IO[bytes]:
    """The journal, open for reading. A survey has none: the error then names what to read instead."""
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        if not is_survey(path.parent):
            raise
        raise FileNotFoundError(error.errno, SURVEY_INSTEAD, error.filename) from None


def parse_row(line: bytes) -> Row | NoRow:
    """Returns the row, of this version or a NewerRow, or why the line is not one."""
    if len(line) > MAX_LINE:
        return NoRow(f"longer than {MAX_LINE} bytes")
    if b'"point"' not in line:  # ten times as fast to see as by the parser: a file of nothing else is refused in no time
        return NoRow("names no point")
    try:
        row = Row.model_validate_json(line)
    except ValidationError as e:
        found = _newer_row(line)
        if found is None:
            return NoRow(_message(e))
        if isinstance(found, NoRow):
            return found
        row = found
    why = implausible(row)
    return NoRow(why) if why else row


def _newer_row(line: bytes) -> NewerRow | NoRow | None:
    """Returns the row of a newer version, or why it cannot be read; None where nothing in the line shows that a newer version wrote it."""
    try:
        row = NewerRow.model_validate_json(line)
    except ValidationError as e:
        return NoRow(_message(e), newer=True) if _has_unknown_fields(line) else None
    names = [name for name, _ in row.unknown()]
    return row if len(names) <= MAX_UNKNOWN and all(map(WORD.fullmatch, names)) else None


def _has_unknown_fields(line: bytes) -> bool:
    """Whether the line is an object with the fields that name a row, and others that this version does not know."""
    try:
        fields = from_json(line)
    except ValueError:
        return False
    if not isinstance(fields, dict) or not all(isinstance(fields.get(name), str) for name in ("point", "op", "status")):
        return False
    unknown = fields.keys() - Row.model_fields.keys()
    return 0 < len(unknown) <= MAX_UNKNOWN and all(map(WORD.fullmatch, unknown))


def _message(error: ValidationError) -> str:
    found = error.errors(include_input=False, include_url=False)[0]
    return str(found["msg"])


def lines(file: IO[bytes]) -> Iterator[bytes]:
    """Line by line, so that a journal need not fit in memory; of one that is too long, no more than says so."""
    while part := file.readline(MAX_LINE + 1):
        yield from part.splitlines()
        while len(part) > MAX_LINE and not part.endswith(b"\n"):
            part = file.readline(MAX_LINE + 1)
