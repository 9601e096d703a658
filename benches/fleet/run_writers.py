"""What the driver of a fleet writes: rows in batches with one fsync each, and what an ordinary run or survey has beside them.

A survey has a journal for each GPU, too many to bring each to the disk several times a second. So a batch goes to arrivals.jsonl first,
with one fsync, and from there to the journals without. Every CHECKPOINT_BYTES, and at the end, the journals are brought to the disk and the
file is emptied. After a loss of power, resuming the run copies from it what a journal lacks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from pydantic_core import from_json

from benches.fleet.messages import Ending, Opened, Sent
from benches.fleet.schedule import ONE_JOURNAL
from benches.run import environment, resume, sentinels
from benches.run.errors import FOLDER as ERRORS
from benches.run.journal import NAME as JOURNAL
from benches.run.journal import SYNC, Journal, JournalError, read_journal
from benches.run.run import Request, RunError, refuse_a_second_run, run_errors
from benches.run.survey import begun
from benches.run.survey_file import SurveyGpu, write_survey
from benches.shards.merge import shared_environment, unlike
from kernels.writing import write_text

ARRIVALS = "arrivals.jsonl"
OPTION = "--out"  # which chooses the directory
CHECKPOINT_BYTES = 64_000_000
SURVEY_EVERY_S = 1.0  # at most so often survey.json is written, of a thousand GPUs some 300 kB
Rows = Sequence[tuple[str, Sent]]  # each with the directory of its GPU


class RunWriter(Protocol):
    """A run directory that the driver writes."""

    done: dict[str, list[str]]  # points that have a row, by journal
    notes: list[str]

    def opened(self, found: Opened) -> str | None:
        """A GPU is about to measure. Returns why it must not, where that is so: an earlier part of the run was measured otherwise."""

    def journal(self, gpu: SurveyGpu) -> str:
        """Returns the name of the journal of a GPU, for the schedule."""

    def journals(self) -> list[str]:
        """Returns the names of all journals that are to hold every point."""

    def commit(self, rows: Rows) -> None:
        """Brings rows to the disk. Raises JournalError."""

    def lost(self, gpu: SurveyGpu, reason: str) -> None:
        """A GPU measures no more, and not all of its points have rows."""

    def ended(self, gpu: SurveyGpu, ending: Ending, interrupted: bool) -> None:
        """A GPU has ended. The rows of its ending are committed."""

    def tick(self) -> None:
        """Writes what has changed besides rows, now and then."""

    def close(self, interrupted: bool) -> None:
        """Records in the run directory how the run ended."""


class Directory:
    """The lock and the sweep of a run directory, and what both kinds of it have."""

    def __init__(self, run_dir: Path, request: Request):
        """Raises RunError."""
        self.dir, self._request = run_dir, request
        self.notes: list[str] = []
        self.done: dict[str, list[str]] = {}
        with run_errors(run_dir, OPTION):
            if not request.resuming:
                refuse_a_second_run(run_dir, OPTION)
                run_dir.mkdir(parents=True, exist_ok=True)
            self._lock, unlocked = resume.lock(run_dir)
            self.notes += [unlocked] if unlocked else []
            if request.resuming and (run_dir / "sweep.yaml").read_text(encoding="utf-8") != request.resolved:
                raise RunError(f"{run_dir} cannot be resumed, since the sweep changed")
            write_text(run_dir / "sweep.yaml", request.resolved)

    def _read(self, folder: Path) -> list[str]:
        """Returns the points of a journal that need no second measurement; makes it end with a whole line."""
        if not (folder / JOURNAL).exists():
            return []
        repaired = resume.repair(folder)
        contents = read_journal(folder)
        self.notes += [*([f"{folder.name}: {repaired}"] if repaired else []), *(f"{folder.name}: {one}" for one in contents.problems)]
        return list(resume.finished(contents.rows, self._request.retry))

    def _keep_errors(self, folder: Path, rows: Sequence[Sent]) -> None:
        """Whole messages of errors. Where one cannot be written, the row has its first line."""
        for row in rows:
            if row.error is not None:
                with suppress(OSError):
                    (folder / ERRORS).mkdir(exist_ok=True)
                    (folder / ERRORS / Path(row.error[0]).name).write_text(row.error[1], encoding="utf-8", errors="backslashreplace")

    def tick(self) -> None:
        """Nothing waits to be written."""

    def _ended_at(self, before: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the environment as this part of the run begins, by that of the part before."""
        return {**before, "resumed_utc": [*before.get("resumed_utc", []), environment.now_utc()]}


class ShardWriter(Directory):
    """One journal, whose rows say where they were measured."""

    def __init__(self, run_dir: Path, request: Request):
        """Raises RunError and JournalError."""
        super().__init__(run_dir, request)
        self._abouts: list[dict[str, Any]] = []
        self._before: dict[str, Any] | None = None
        with run_errors(run_dir, OPTION):
            if request.resuming and (run_dir / environment.NAME).exists():
                self._before = self._ended_at(environment.read(run_dir))
            self.done = {ONE_JOURNAL: self._read(run_dir)}
            self._journal = Journal(run_dir)

    def journal(self, gpu: SurveyGpu) -> str:
        return ONE_JOURNAL

    def journals(self) -> list[str]:
        return [ONE_JOURNAL]

    def opened(self, found: Opened) -> str | None:
        reference = self._before or (self._abouts[0] if self._abouts else None)
        if reference is not None and (changed := unlike(reference, found.environment)):
            return f"unlike the GPUs that share the points: {'; '.join(changed)}"
        self._abouts.append(dict(found.environment))  # the end of the board is added
        self._write({})
        return None

    def _write(self, more: Mapping[str, Any]) -> None:
        if self._abouts or self._before:
            known = [*([self._before] if self._before else []), *self._abouts]
            environment.write(self.dir, {**shared_environment(known), **more})

    def commit(self, rows: Rows) -> None:
        self._journal.append_lines([row.line for _, row in rows])
        self._keep_errors(self.dir, [row for _, row in rows])

    def lost(self, gpu: SurveyGpu, reason: str) -> None:
        """The others have its points."""

    def ended(self, gpu: SurveyGpu, ending: Ending, interrupted: bool) -> None:
        add_readings(self.dir / sentinels.file_name(gpu.directory), ending.sentinels)
        if ending.board is not None:
            for about in self._abouts:
                if about.get("device_uuid") == gpu.uuid:
                    about["board"] = ending.board

    def close(self, interrupted: bool) -> None:
        with suppress(OSError):  # on a full disk what is measured is safe, and that the run has no end says that it was cut off
            self._journal.close()
            self._write({"finished_utc": environment.now_utc(), "interrupted": interrupted})
        self._lock.close()


class SurveyWriter(Directory):
    """A run directory for each GPU, and survey.json."""

    def __init__(self, run_dir: Path, request: Request, kind: str):
        """Raises RunError and JournalError."""
        super().__init__(run_dir, request)
        self._environments: dict[str, dict[str, Any]] = {}  # by directory
        self._unsynced: set[str] = set()
        self._written_s, self._changed = 0.0, False
        self._unlisted = False  # whether survey.json lacks a GPU
        try:
            self._file = begun(run_dir, [], request, kind)
        except ValueError as e:
            raise RunError(f"{run_dir} cannot be resumed: {e}") from None
        with run_errors(run_dir, OPTION):
            if request.resuming:
                recover(run_dir)
            self._gpus = {gpu.uuid: gpu for gpu in self._file.gpus}
            for gpu in self._file.gpus:
                self.done[gpu.directory] = self._read(run_dir / gpu.directory)
            write_survey(run_dir, self._file)
            self._arrivals = Journal(run_dir, ARRIVALS)

    def journal(self, gpu: SurveyGpu) -> str:
        return gpu.directory

    def journals(self) -> list[str]:
        return [gpu.directory for gpu in self._gpus.values()]

    def opened(self, found: Opened) -> str | None:
        folder = self.dir / found.gpu.directory
        about = found.environment
        if self.done.get(found.gpu.directory):
            before = environment.read(folder)
            if changed := resume.differences(before, about):
                return f"it cannot go on, since this changed: {'; '.join(changed)}"
            about = self._ended_at(before)
        about = dict(about)  # the end of the board is added
        folder.mkdir(exist_ok=True)
        (folder / JOURNAL).touch()
        environment.write(folder, about)
        write_text(folder / "sweep.yaml", self._request.resolved)
        self._environments[found.gpu.directory] = about
        self._note(found.gpu, "running", None)
        return None

    def _note(self, gpu: SurveyGpu, status: str, reason: str | None) -> None:
        self._unlisted |= gpu.uuid not in self._gpus
        self._gpus[gpu.uuid] = gpu.model_copy(update={"status": status, "reason": reason})
        self._changed = True

    def tick(self) -> None:
        if self._changed and time.monotonic() - self._written_s >= SURVEY_EVERY_S:
            self._write({})

    def _write(self, ends: Mapping[str, Any]) -> None:
        gpus = sorted(self._gpus.values(), key=lambda gpu: (gpu.host, gpu.index))
        self._file = self._file.model_copy(update={"gpus": gpus, **ends})
        write_survey(self.dir, self._file)
        self._written_s, self._changed, self._unlisted = time.monotonic(), False, False

    def commit(self, rows: Rows) -> None:
        if self._unlisted:  # first: a resumed run looks for the rows of GPUs that it knows
            self._write({})
        self._arrivals.append_lines([b'{"directory":"%s","row":%s}\n' % (name.encode(), row.line.rstrip(b"\n")) for name, row in rows])
        by_directory: dict[str, list[Sent]] = {}
        for name, row in rows:
            by_directory.setdefault(name, []).append(row)
        for name, found in by_directory.items():
            append(self.dir / name, [row.line for row in found])
            self._keep_errors(self.dir / name, found)
        self._unsynced |= by_directory.keys()
        if self._arrivals.path.stat().st_size > CHECKPOINT_BYTES:
            self._checkpoint()

    def _checkpoint(self) -> None:
        for name in sorted(self._unsynced):
            sync(self.dir / name / JOURNAL)
        self._unsynced.clear()
        self._arrivals.empty()

    def lost(self, gpu: SurveyGpu, reason: str) -> None:
        self._note(gpu, "lost", reason)

    def ended(self, gpu: SurveyGpu, ending: Ending, interrupted: bool) -> None:
        add_readings(self.dir / gpu.directory / sentinels.NAME, ending.sentinels)
        about = self._environments[gpu.directory]
        if ending.board is not None:
            about["board"] = {"start": (about.get("board") or ending.board)["start"], "end": ending.board["end"]}
        self._note(gpu, "interrupted" if interrupted else "finished", None)

    def close(self, interrupted: bool) -> None:
        now = environment.now_utc()
        # On a full disk what is measured is safe, and a run without an end shows that it was cut off.
        with suppress(OSError, JournalError):
            self._checkpoint()
            for gpu in self._gpus.values():
                if gpu.status == "running":
                    self._note(gpu, "interrupted", None)
                if gpu.directory in self._environments:
                    about = self._environments[gpu.directory]
                    cut = interrupted or gpu.status != "finished"
                    environment.write(self.dir / gpu.directory, about | {"finished_utc": now, "interrupted": cut})
            self._write({"finished_utc": now, "interrupted": interrupted})
            self._arrivals.close()
            self._arrivals.path.unlink()
        self._lock.close()


def recover(run_dir: Path) -> None:
    """Copies rows that arrived and that a journal lacks, as after a loss of power. Raises OSError."""
    try:
        lines = (run_dir / ARRIVALS).read_bytes().splitlines()
    except FileNotFoundError:
        return
    arrived: dict[str, list[bytes]] = {}
    for line in lines:
        if (found := parse_arrival(line)) is not None:
            arrived.setdefault(found[0], []).append(found[1])
    for name, rows in arrived.items():
        folder = run_dir / name
        if not folder.is_dir():
            continue
        (folder / JOURNAL).touch()
        resume.repair(folder)
        known = set((folder / JOURNAL).read_bytes().splitlines())
        append(folder, [row + b"\n" for row in rows if row not in known])
        sync(folder / JOURNAL)
    (run_dir / ARRIVALS).unlink()


def parse_arrival(line: bytes) -> tuple[str, bytes] | None:
    """Returns the directory and the row of a line; None for a torn one."""
    begin, middle = b'{"directory":"', b'","row":'
    try:
        from_json(line)
    except ValueError:
        return None
    name, found, row = line.removeprefix(begin).partition(middle)
    directory = name.decode("utf-8", "replace")
    if not line.startswith(begin) or not found or Path(directory).name != directory or directory in ("", ".", ".."):
        return None
    return directory, row[:-1]


def append(folder: Path, lines: Sequence[bytes]) -> None:
    """Appends to the journal of a folder, which is brought to the disk later. Raises JournalError."""
    try:
        with (folder / JOURNAL).open("ab", buffering=0) as file:
            file.write(b"".join(lines))
    except OSError as e:
        raise JournalError(f"{folder / JOURNAL}: cannot be written: {e.strerror}; make room and run again") from e


def sync(path: Path) -> None:
    """Brings a file to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        SYNC(descriptor)
    finally:
        os.close(descriptor)


def add_readings(path: Path, readings: bytes) -> None:
    """Adds lines to a file of sentinels that it does not hold yet. A file that cannot be written costs the readings only."""
    with suppress(OSError):
        known = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        new = [line for line in readings.splitlines(keepends=True) if line not in known]
        if new:
            with path.open("ab") as file:
                file.writelines(new)
