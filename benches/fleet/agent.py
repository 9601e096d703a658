"""An agent measures on one GPU of a fleet: an ordinary run in a folder of the GPU's own machine, where rows are on disk before they are
sent."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from threading import Condition, Thread

from benches.devices.node_gpus import NodeGpu
from benches.devices.opening import NoDevice
from benches.fleet.messages import Batch, Ending, Opened, Order, Refused, Sent
from benches.fleet.shipping import own_folder, unpack
from benches.row import DEVICE_LOST, Row
from benches.run import environment, sentinels
from benches.run.isolation import CLOSING_S, WorkerError
from benches.run.journal import NAME as JOURNAL
from benches.run.journal import JournalError, line_of
from benches.run.pool import Pool
from benches.run.run import Run, RunError
from benches.run.survey import surveyed
from benches.timing.failure import first_words
from kernels.imports import ImportProblem
from kernels.op import Point

IMPORTS = "imports"
ERROR_BYTES = 200_000  # of an error's whole message
BATCH_ROWS = 256


class Agent:
    """Measures points in a thread of its own, and keeps their rows until they are asked for. open_pool: the worker of the GPU."""

    def __init__(self, order: Order, gpu: NodeGpu, open_pool: Callable[[Path, NodeGpu], Pool] | None = None):
        """Raises RunError, JournalError, NoDevice, WorkerError, ImportProblem and OSError."""
        about = surveyed(gpu)
        self._base = own_folder(order.node_dir) / order.run_id
        self._folder = self._base / about.directory
        workers = replace(order.workers, imports=unpack(order.shipped, self._base / IMPORTS))
        self._points: SimpleQueue[Point | None] = SimpleQueue()
        self._rows: list[Sent] = []
        self._changed = Condition()
        self._ended: str | None = None
        self._closing = False
        pool_of = open_pool or workers.pool_of
        request = replace(order.request, resuming=(self._folder / JOURNAL).exists())
        self._run = Run(self._folder, lambda: pool_of(self._folder, gpu), request, on_row=self._send)
        self._held = frozenset(self._run.recorded)
        self.opened = Opened(about, self._run.environment, tuple(self._held), tuple(self._run.notes))
        self._thread = Thread(target=self._work, daemon=True)
        self._thread.start()

    def exchange(self, points: Sequence[Point], wait_s: float) -> Batch:
        """Takes further points, and returns the rows that have come since; waits for the first of them at most `wait_s`."""
        for point in points:
            self._points.put(point)
        with self._changed:
            self._changed.wait_for(lambda: self._rows or self._ended, wait_s)
            return Batch(self._taken(BATCH_ROWS), None if len(self._rows) > 0 else self._ended)

    def finish(self, interrupted: bool, delete: bool) -> Ending:
        """Ends the worker, also in the middle of a point. delete: the machine's copy of the rows, which are safe elsewhere."""
        self._closing = True
        self._points.put(None)
        self._run.finish(interrupted)
        self._thread.join(CLOSING_S)
        with self._changed:
            rows = self._taken(None)
        try:
            readings = (self._folder / sentinels.NAME).read_bytes()
        except OSError:
            readings = b""
        try:
            board = environment.read(self._folder).get("board")
        except (OSError, ValueError):  # a full disk kept it from being written
            board = None
        if delete:
            shutil.rmtree(self._folder, ignore_errors=True)
            with suppress(OSError):  # another GPU of this machine has a folder in it
                if {path.name for path in self._base.iterdir()} <= {IMPORTS}:
                    shutil.rmtree(self._base)
        return Ending(rows, readings, board)

    def _work(self) -> None:
        while (point := self._points.get()) is not None:
            try:
                row = self._run.row_of(point)
            except BaseException as e:  # whatever it is, the driver gets to know
                if not self._closing:
                    self._end(str(e) if isinstance(e, JournalError) else first_words(e))
                return
            if point.id in self._held:
                self._send(row)

    def _end(self, reason: str) -> None:
        with self._changed:
            self._ended = self._ended or reason
            self._changed.notify_all()

    def _send(self, row: Row) -> None:
        with self._changed:
            self._rows.append(Sent(row.point, row.status, row.cause, line_of(row), self._error(row)))
            if row.cause == DEVICE_LOST:
                self._ended = f"the GPU no longer answers: {row.reason}"
            self._changed.notify_all()

    def _error(self, row: Row) -> tuple[str, str] | None:
        if row.error_file is None:
            return None
        try:
            with (self._folder / row.error_file).open("rb") as file:
                return row.error_file, file.read(ERROR_BYTES).decode("utf-8", "replace")
        except OSError:
            return None

    def _taken(self, most: int | None) -> list[Sent]:
        taken, self._rows = self._rows[:most], self._rows[len(self._rows) if most is None else most :]
        return taken


def open_agent(order: Order, gpu: NodeGpu) -> Agent | Refused:
    """Returns the agent of a GPU, or why it cannot be measured."""
    try:
        return Agent(order, gpu)
    except (RunError, JournalError, NoDevice, WorkerError, ImportProblem) as e:
        return Refused(str(e), surveyed(gpu))
    except OSError as e:
        return Refused(f"{e.filename or order.node_dir}: cannot be written ({e.strerror}): name another --node-dir", surveyed(gpu))
