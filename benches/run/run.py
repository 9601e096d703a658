"""A run: its directory, its measurer, its journal. Made when the first point is about to be measured."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benches.row import DEVICE_LOST, TIMED, Row
from benches.run import environment, resume
from benches.run.interrupts import deferred_interrupt
from benches.run.isolation import Interrupted, Measurer
from benches.run.journal import NAME, NEWER, Journal, read_journal
from benches.run.narrowing import together
from benches.run.processes import combine_rows
from kernels.guard import ROOT
from kernels.imports import Imported
from kernels.op import Point
from kernels.writing import write_text


class RunError(Exception):
    """The run cannot start; the message says what to do."""


class DeviceLostError(Exception):
    """The device is gone, so that no further point can be measured; the message says what to do."""


HALF_WIDTH = {"cpu": 0.05}  # of the interval between processes, relative, above which a point is noisy; elsewhere 0.005


def default_run_dir() -> Path:
    """runs/<UTC time>-<host>-<short commit>; the host's name is reduced to what a file name takes."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    host = re.sub(r"[^A-Za-z0-9.]+", "_", environment.host())[:40]
    return ROOT / "runs" / f"{stamp}-{host}-{(environment.commit()[0] or 'nocommit')[:8]}"


@dataclass(frozen=True)
class Request:
    """What the command line asked for."""

    resolved: str  # the sweep as YAML
    sweeps: list[str]
    seed: int
    settings: dict[str, Any]  # fields of Settings that differ from the device's own
    processes: int = 1  # fresh ones a point
    resuming: bool = False
    retry: bool = False  # with resuming: measure again what timed out, crashed or raised
    narrowed_by: str | None = None  # options by which some points only were selected
    imports: tuple[Imported, ...] = ()  # other people's files and modules

    def recorded(self) -> dict[str, Any]:
        """Its part of environment.json."""
        how = {"regime": "sustained", "cache": None, "energy": False} | self.settings
        files = [one.recorded() for one in self.imports]
        return {
            "sweeps": self.sweeps,
            "seed": self.seed,
            "processes": self.processes,
            "narrowed_by": self.narrowed_by,
            "imports": files,
            **how,
        }


class Run:
    """Measures points into a run directory that no other run writes to."""

    def __init__(self, run_dir: Path, open_measurer: Callable[[], Measurer], request: Request):
        """Raises RunError where the directory cannot be used, and what opening the measurer raises."""
        self.dir, self._request = run_dir, request
        self.notes: list[str] = []
        self._done: dict[str, Row] = {}
        self.recorded: set[str] = set()  # points that have a row
        try:
            fresh = not run_dir.exists()
            if not request.resuming:
                run_dir.mkdir(parents=True, exist_ok=True)
            self._lock, unlocked = resume.lock(run_dir)
            self.notes += [unlocked] if unlocked else []
            if not request.resuming and (run_dir / NAME).exists():
                raise RunError(f"{run_dir} already holds a run: resume it with --resume, or name another --run-dir")
            self._measurer = open_measurer()
            try:
                described = self._measurer.describe()
            except Exception:
                self._measurer.close()
                if fresh:
                    shutil.rmtree(run_dir)  # nothing was measured: leave no empty run behind
                raise
            self.environment = environment.collect(described, request.recorded())
            if request.resuming:
                self._go_on()
            else:
                environment.write(run_dir, self.environment)
                write_text(run_dir / "sweep.yaml", request.resolved)
            self.journal = Journal(run_dir)
        except resume.HeldElsewhere:
            raise RunError(f"{run_dir}: another run is writing there: wait for it, or name another --run-dir") from None
        except OSError as e:
            raise RunError(f"{run_dir}: cannot be written ({e.strerror}): name another place with --run-dir") from e

    def _go_on(self) -> None:
        before = environment.read(self.dir)
        changed = resume.differences(before, self.environment)
        if (self.dir / "sweep.yaml").read_text(encoding="utf-8") != self._request.resolved:
            changed.append("the sweep")
        if changed:
            self._measurer.close()
            _, why = environment.commit()
            raise RunError(f"{self.dir} cannot be resumed, since this changed: {'; '.join(changed)}{f' ({why})' if why else ''}")
        if read_journal(self.dir).newer:
            self._measurer.close()
            raise RunError(f"{self.dir} cannot be resumed: it was {NEWER}: resume it with that version")
        repaired = resume.repair(self.dir)
        contents = read_journal(self.dir)
        self.notes += [*([repaired] if repaired else []), *contents.problems]
        self._done = resume.finished(contents.rows, self._request.retry)
        self.recorded.update(self._done)
        # What an earlier part found out at its start holds for the whole run.
        again = {"resumed_utc": [*before.get("resumed_utc", []), environment.now_utc()]}
        self.environment = before | again | {"narrowed_by": together(before.get("narrowed_by"), self._request.narrowed_by)}

    def row_of(self, point: Point, timing: bool = True) -> Row:
        """One point, journalled before this returns; a point that is finished already is not measured again.

        Raises JournalError, DeviceLostError once the row of the point that met it is safe, and likewise whatever ended the wait for a row:
        Ctrl-C, or a plug-in's exception. A resumed run measures such a point again.
        """
        if point.id in self._done:
            return self._done[point.id]
        try:
            row = self._new_row(point, timing)
        except Interrupted as e:
            with deferred_interrupt():
                self._record(e.row)
            raise e.__cause__ or e from None
        with deferred_interrupt():
            self._record(row)
        if row.cause == DEVICE_LOST:
            again = shlex.join(["pytest", "benches/", "--benchmark-only", "--resume", str(self.dir), "--retry-failed", *self._imports()])
            raise DeviceLostError(f"the GPU no longer answers ({row.reason}): reset it or restart the machine, then {again}")
        return row

    def _imports(self) -> list[str]:
        return [word for one in self._request.imports for word in ("--import", one.again)]

    def _record(self, row: Row) -> None:
        self.journal.append(row)
        self.recorded.add(row.point)

    def _new_row(self, point: Point, timing: bool) -> Row:
        if self._request.processes == 1 or not timing:
            return self._measurer.row_of(point, timing)
        rows = []
        for _ in range(self._request.processes):
            self._measurer.renew()
            rows.append(self._measurer.row_of(point, timing))
            if rows[-1].status not in TIMED:
                break
        return combine_rows(rows, HALF_WIDTH.get(self.environment["device_kind"], 0.005))

    def finish(self, interrupted: bool) -> None:
        """Ends the worker, closes the journal and says in environment.json how the run ended."""
        self._measurer.close()
        ended: dict[str, Any] = {"finished_utc": environment.now_utc(), "interrupted": interrupted}
        with suppress(OSError):  # on a full disk: what is measured is safe, and that the run has no end says that it was cut off
            self.journal.close()
            environment.write(self.dir, self.environment | ended)
