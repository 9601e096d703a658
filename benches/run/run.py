"""A run: its directory, its workers, its journal. Made when the first point is about to be measured."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from benches.devices.node_gpus import NodeGpu
from benches.row import DEVICE_LOST, TIMED, Row
from benches.run import board, environment, resume, side_by_side, survey_file, tuned_file
from benches.run.interrupts import deferred_interrupt
from benches.run.isolation import CLOSING_S, Interrupted, Measurer
from benches.run.journal import NAME, NEWER, Journal, read_journal
from benches.run.narrowing import together
from benches.run.pool import Pool, Worker
from benches.run.processes import combine_rows
from benches.timing.failure import first_words
from kernels.fingerprint import digest
from kernels.guard import ROOT
from kernels.imports import Imported
from kernels.op import Point
from kernels.writing import write_text


class RunError(Exception):
    """The run cannot start; the message says what to do."""


class DeviceLostError(Exception):
    """The device is gone, so that no further point can be measured; the message says what to do."""


@contextmanager
def run_errors(run_dir: Path, option: str = "--run-dir") -> Iterator[None]:
    """Within the block a directory that is held elsewhere or cannot be written is a RunError, which names the option that chooses it."""
    try:
        yield
    except resume.HeldElsewhere:
        raise RunError(f"{run_dir}: another run is writing there: wait for it, or name another {option}") from None
    except OSError as e:
        raise RunError(f"{run_dir}: cannot be written ({e.strerror}): name another place with {option}") from e


def refuse_a_second_run(run_dir: Path, option: str = "--run-dir") -> None:
    """Raises RunError where the directory holds a run or a survey."""
    if (run_dir / NAME).exists() or (run_dir / survey_file.NAME).exists():
        raise RunError(f"{run_dir} already holds a run: resume it with --resume, or name another {option}")


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
    mode: str | None = None  # `shard` or `survey`, where GPUs were named
    shard: str | None = None  # `1/4`: the part of the sweep
    tuned: str | None = None  # the file of tuned choices
    within: Path | None = None  # the survey's directory, which --resume takes, of a run that is one GPU of it
    source: tuple[str | None, bool | None] | None = None  # commit and `dirty` of this code, on a machine without its repository

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
            **{name: value for name in ("mode", "shard") if (value := getattr(self, name)) is not None},
            **({"tuned": digest(self.tuned.encode())} if self.tuned is not None else {}),
            **(dict(zip(("commit", "dirty"), self.source, strict=True)) if self.source is not None else {}),
        }


class Run:
    """Measures points into a run directory that no other run writes to."""

    def __init__(self, run_dir: Path, open_pool: Callable[[], Pool], request: Request, on_row: Callable[[Row], None] | None = None):
        """Raises RunError where the directory cannot be used, and what opening the devices raises. on_row: is called with each row once it
        is on disk, in the thread that measured it."""
        self.dir, self._request, self._on_row = run_dir, request, on_row
        self.dirs: list[Path] = [run_dir]
        self._scheduled: dict[str, Future[Row]] = {}
        self._writing = Lock()
        self._ending = False
        self._lost = ""  # why no worker is left
        self.notes: list[str] = []
        self._done: dict[str, Row] = {}
        self.recorded: set[str] = set()  # points that have a row
        with run_errors(run_dir):
            fresh = not run_dir.exists()
            if not request.resuming:
                run_dir.mkdir(parents=True, exist_ok=True)
            self._lock, unlocked = resume.lock(run_dir)
            self.notes += [unlocked] if unlocked else []
            if not request.resuming:
                refuse_a_second_run(run_dir)
            self._pool = open_pool()
            try:
                described = self._pool.describe()
            except BaseException:
                self._pool.close()
                if fresh:
                    shutil.rmtree(run_dir)  # nothing was measured: leave no empty run behind
                raise
            gpus = [worker.gpu.recorded() for worker in self._pool.workers if worker.gpu]
            self.environment = environment.collect(described, request.recorded() | ({"gpus": gpus} if gpus else {}))
            self.environment |= board.begun(self.environment)
            if request.resuming:
                self._go_on()
            else:
                environment.write(run_dir, self.environment)
                write_text(run_dir / "sweep.yaml", request.resolved)
                if request.tuned is not None:
                    write_text(run_dir / tuned_file.NAME, request.tuned)
            self.journal = Journal(run_dir)

    def _go_on(self) -> None:
        before = environment.read(self.dir)
        changed = resume.differences(*resume.comparable(before, self.environment))
        if (self.dir / "sweep.yaml").read_text(encoding="utf-8") != self._request.resolved:
            changed.append("the sweep")
        if changed:
            self._pool.close()
            _, why = environment.commit()
            raise RunError(f"{self.dir} cannot be resumed, since this changed: {'; '.join(changed)}{f' ({why})' if why else ''}")
        if read_journal(self.dir).newer:
            self._pool.close()
            raise RunError(f"{self.dir} cannot be resumed: it was {NEWER}: resume it with that version")
        repaired = resume.repair(self.dir)
        contents = read_journal(self.dir)
        self.notes += [*([repaired] if repaired else []), *contents.problems]
        self._done = resume.finished(contents.rows, self._request.retry)
        self.recorded.update(self._done)
        # What an earlier part found out at its start holds for the whole run.
        again = {"resumed_utc": [*before.get("resumed_utc", []), environment.now_utc()]}
        narrowed = together(before.get("narrowed_by"), self._request.narrowed_by)
        self.environment = before | again | {"narrowed_by": narrowed} | resume.joined_gpus(before, self.environment)

    @property
    def measurers(self) -> list[Measurer]:
        """One a GPU."""
        return [worker.measurer for worker in self._pool.workers]

    def compare_side_by_side(self) -> str:
        """Measures whether its GPUs disturb one another, before their first point. Returns what was found, as a sentence."""
        side_by_side.measure_alone_and_together(self.measurers)
        return side_by_side.sentence(side_by_side.compared(side_by_side.read_ratios(self.dirs)))

    @property
    def ahead(self) -> int:
        """How many points beyond the one that is waited for may be scheduled."""
        return self._pool.ahead

    def start(self, points: Iterable[Point], timing: bool = True) -> None:
        """Schedules those points that have no row and are not scheduled. Where there is one worker and no thread, it measures them now."""
        for point in points:
            if point.id not in self._done and point.id not in self._scheduled:
                self._scheduled[point.id] = self._pool.submit(partial(self._measured, point, timing))

    def row_of(self, point: Point, timing: bool = True, following: Sequence[Point] = ()) -> Row:
        """One point, journalled before this returns; a point that is finished already is not measured again. following: points that are
        scheduled meanwhile, at most `ahead`.

        Raises JournalError, DeviceLostError once the row of the point that met it is safe, and likewise whatever ended the wait for a row:
        Ctrl-C, or a plug-in's exception. A resumed run measures such a point again.
        """
        self.start((point, *following[: self.ahead]), timing)
        if point.id in self._done:
            return self._done[point.id]
        try:
            row = self._scheduled[point.id].result()
        except BaseException as e:
            self.end_wait(point, e)
            raise
        del self._scheduled[point.id]
        return row

    def end_wait(self, point: Point, error: BaseException) -> None:
        """Cancels a point for which a test no longer waits, or where it is being measured ends that, with a row that says so."""
        future = self._scheduled.pop(point.id, None)
        if future is None or future.done():
            return
        with deferred_interrupt():
            if not future.cancel():
                self._pool.interrupt(point.id, first_words(error))
                wait([future], CLOSING_S)

    def _measured(self, point: Point, timing: bool, worker: Worker | None) -> Row:
        """One point by a worker, journalled. In the worker's thread, where it has one."""
        if worker is None:
            raise DeviceLostError(self._lost)
        try:
            row = located(self._new_row(worker.measurer, point, timing), worker.gpu)
        except Interrupted as e:
            if not self._ending:  # a point that is cancelled with the run leaves no row
                self._record(located(e.row, worker.gpu))
            raise e.__cause__ or e from None
        self._record(row)
        if row.cause == DEVICE_LOST:
            folder = str(self._request.within or self.dir)
            again = shlex.join(["pytest", "benches/", "--benchmark-only", "--resume", folder, "--retry-failed", *self._imports()])
            self._lost = f"the GPU no longer answers ({row.reason}): reset it or restart the machine, then {again}"
            if not self._pool.lose(worker):
                raise DeviceLostError(self._lost)
        return row

    def _imports(self) -> list[str]:
        return [word for one in self._request.imports for word in ("--import", one.again)]

    def _record(self, row: Row) -> None:
        with deferred_interrupt(), self._writing:
            self.journal.append(row)
            self.recorded.add(row.point)
        if self._on_row is not None:
            self._on_row(row)

    def _new_row(self, measurer: Measurer, point: Point, timing: bool) -> Row:
        if self._request.processes == 1 or not timing:
            return measurer.row_of(point, timing)
        rows = []
        for _ in range(self._request.processes):
            measurer.renew()
            rows.append(measurer.row_of(point, timing))
            if rows[-1].status not in TIMED:
                break
        return combine_rows(rows, HALF_WIDTH.get(self.environment["device_kind"], 0.005))

    def finish(self, interrupted: bool) -> None:
        """Ends the workers, closes the journal and says in environment.json how the run ended."""
        self._ending = True
        self._pool.close()
        ended: dict[str, Any] = {"finished_utc": environment.now_utc(), "interrupted": interrupted}
        ended |= board.ended(self.environment, [worker.gpu.uuid for worker in self._pool.workers if worker.gpu])
        with suppress(OSError):  # on a full disk: what is measured is safe, and that the run has no end says that it was cut off
            self.journal.close()
            environment.write(self.dir, self.environment | ended)
        self._lock.close()


def located(row: Row, gpu: NodeGpu | None) -> Row:
    """Returns the row with where it was measured, if the run was given GPUs."""
    if gpu is None:
        return row
    return row.model_copy(update={"host": environment.host(), "device_uuid": gpu.uuid, "gpu_index": gpu.index, "numa": gpu.numa})
