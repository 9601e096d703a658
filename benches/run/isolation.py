"""Measures points in a worker process, so that a segfault, an abort, a hang inside C or a sticky CUDA error costs one point.

The worker is spawned, kept between points, and replaced when it dies, hangs or can no longer be trusted.
"""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeout
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol, TypeVar

import psutil
from pebble import ProcessExpired, ProcessFuture, ProcessPool

from benches.devices.opening import NoDevice
from benches.row import CONTEXT_LOST, DEVICE_LOST, INTERRUPTED, Row, Status, new_row
from benches.run import worker
from benches.run.bench import Bench
from benches.run.errors import keep_text
from benches.run.interrupts import deferred_interrupt
from benches.timing.failure import first_words
from kernels.op import Language, Point
from kernels.registry import OPS
from kernels.support import Platform

T = TypeVar("T")
CLOSING_S = 15.0
CALLS_OF_A_LONG_POINT = 18
SENTINELS = "sentinels"  # in place of a point, while a worker measures them
SENTINELS_S = 60.0  # for measuring them; they take seconds
OPENING_S = 300.0  # for importing torch, creating a CUDA context and measuring a CPU's ceilings


class Interrupted(BaseException):
    """The session ended the wait for a point: Ctrl-C, or a plug-in's time-out. `row` records the point; the cause is the exception that
    ended the wait."""

    def __init__(self, row: Row):
        super().__init__(row.reason)
        self.row = row


class WorkerError(Exception):
    """The worker could not open its device; the message says why."""


class Measurer(Protocol):
    """Something that turns points into rows."""

    def describe(self) -> dict[str, Any]:
        """What Device.describe says."""

    def platform(self, language: Language) -> Platform:
        """Where an implementation in this language would run. Raises what opening the device raises."""

    def row_of(self, point: Point, timing: bool) -> Row:
        """Never raises for what a kernel does. Raises Interrupted."""

    def read_sentinels(self, others: int) -> None:
        """Measures the sentinels as `others` other GPUs do at the same time, and keeps the readings beside the rows. Never raises."""

    def interrupt(self, point: str | None, reason: str) -> None:
        """From another thread: `row_of` stops waiting for this point and raises Interrupted. SENTINELS: `read_sentinels` ends. None: every
        call does, now and later."""

    def renew(self) -> None:
        """The next point is measured in a fresh process, where there are processes."""

    def close(self) -> None:
        """Ends what it started."""


def row_of(measurer: Measurer, point: Point, timing: bool) -> Row:
    """The row, for a command that keeps none of a point whose wait was ended: raises what ended the wait, such as KeyboardInterrupt."""
    try:
        return measurer.row_of(point, timing)
    except Interrupted as e:
        raise e.__cause__ or e from None


class InProcess:
    """`--isolation none`: for a debugger. A crash takes the session with it."""

    def __init__(self, bench: Bench):
        self._bench = bench

    def describe(self) -> dict[str, Any]:
        return self._bench.describe()

    def platform(self, language: Language) -> Platform:
        return self._bench.device.platform(language)

    def row_of(self, point: Point, timing: bool) -> Row:
        started, start = datetime.now(UTC), time.perf_counter()
        try:
            return self._bench.row_of(point, timing)
        except BaseException as e:
            raise Interrupted(lost_row(self._bench.device.kind, point, "error", first_words(e), started, start, cause=INTERRUPTED)) from e

    def read_sentinels(self, others: int) -> None:
        self._bench.read_sentinels(others)

    def interrupt(self, point: str | None, reason: str) -> None:
        """There is only this thread."""

    def renew(self) -> None:
        """There is only this process."""

    def close(self) -> None:
        """Nothing was started."""


class Isolated:
    """A worker process with a limit of `limit_s` seconds a point, counted from when the device is open, and, where given, of `memory_bytes`
    of host memory.

    ends: exceptions that end the session although they are of class Exception, as pytest's own.
    opening: arguments of Bench; `described` among them becomes what the first worker found, so that ceilings are measured once a run.
    call: what measures a point in the worker.
    """

    def __init__(
        self,
        opening: dict[str, Any],
        log: Path,
        limit_s: float,
        memory_bytes: int | None = None,
        call: Callable[[Point, bool], tuple[str, bool]] = worker.measure_point,
        ends: tuple[type[Exception], ...] = (),
    ):
        self._opening, self._log, self._limit_s, self._memory_bytes = dict(opening), log, limit_s, memory_bytes
        self._measure_point, self._ends = call, ends
        self._pool = self._new_pool()
        self._opened = False  # whether the pool's worker has its device
        self._point: str | None = None  # whose row is waited for
        self._future: ProcessFuture[Any] | None = None  # the call that is waited for
        self._interrupted: tuple[str | None, str] | None = None  # as `interrupt` was told

    def _new_pool(self) -> ProcessPool:
        arguments = (str(self._log), self._opening, self._memory_bytes)
        return ProcessPool(max_workers=1, context=get_context("spawn"), initializer=worker.start, initargs=arguments)

    def describe(self) -> dict[str, Any]:
        """Opens the device. Raises WorkerError and NoDevice."""
        offset = self._log_size()
        try:
            self._opening["described"] = self._open()
        except NoDevice:
            raise
        except (ProcessExpired, FutureTimeout) as e:
            raise WorkerError(f"the worker could not open the device: {self._end(e)}{self._last_words(offset)}") from e
        except Exception as e:
            reason = e if str(e) else e.__cause__ or e  # a pool that broke has no words of its own
            raise WorkerError(f"the worker could not open the device: {type(reason).__name__}: {reason}{self._last_words(offset)}") from e
        return self._opening["described"]

    def platform(self, language: Language) -> Platform:
        """As the worker's device has it."""
        return self._call(worker.platform, language, limit_s=OPENING_S)

    def _open(self) -> dict[str, Any]:
        """The worker's device, described. A fresh worker is started for it, which may take longer than a point."""
        described = self._call(worker.describe, limit_s=OPENING_S)
        self._opened = True
        return described

    def _call(self, function: Callable[..., T], *arguments: Any, limit_s: float) -> T:
        """In the worker. Raises what the function raises, TimeoutError after `limit_s` seconds, ProcessExpired where the worker ends."""
        with deferred_interrupt():  # it would leave the pool's locks held
            self._future = future = self._pool.schedule(function, args=arguments, timeout=limit_s)
        if self._is_interrupted():  # before there was anything to cancel
            future.cancel()
        return future.result()

    def interrupt(self, point: str | None, reason: str) -> None:
        self._interrupted = (point, reason)
        if self._is_interrupted() and self._future is not None:
            self._future.cancel()

    def _is_interrupted(self) -> bool:
        return self._interrupted is not None and self._interrupted[0] in (None, self._point)

    def row_of(self, point: Point, timing: bool) -> Row:
        self._point = point.id
        try:
            return self._row_of(point, timing)
        finally:
            self._point = None

    def read_sentinels(self, others: int) -> None:
        self._point = SENTINELS
        try:
            self._call(worker.read_sentinels, others, limit_s=min(self._limit_s, SENTINELS_S))
        except Exception:  # a worker that hangs or ends, or an interruption: these sentinels have no reading, and no point is lost
            self.renew()
        finally:
            self._point = None

    def _row_of(self, point: Point, timing: bool) -> Row:
        started, start, offset, kills = datetime.now(UTC), time.perf_counter(), self._log_size(), oom_kills()
        try:
            if not self._opened:
                self._open()
            text, unusable = self._call(self._measure_point, point, timing, limit_s=self._limit_s)
        except FutureTimeout as e:
            limit_s = self._limit_s if self._opened else OPENING_S
            if time.perf_counter() - start < limit_s:  # a plug-in's, which is of the same class as the pool's
                self.renew()
                return self._lost(point, "error", first_words(e), offset, started, start)
            late = f"no result after {self._limit_s:g} s" if self._opened else f"the device could not be opened within {OPENING_S:g} s"
            cause = None if self._opened else DEVICE_LOST  # so that no further point waits as long
            self.renew()
            return self._lost(point, "timeout", f"{late}; the worker was killed", offset, started, start, cause)
        except CancelledError as e:  # by `interrupt`
            asked, reason = self._interrupted or (None, first_words(e))
            if asked is not None:
                self._interrupted = None
            self.renew()
            raise Interrupted(lost_row(self._opening["kind"], point, "error", reason, started, start, cause=INTERRUPTED)) from e
        except NoDevice as e:  # a fresh worker found the device gone
            return self._lost(point, "error", f"the device cannot be opened any more: {e}", offset, started, start, DEVICE_LOST)
        except ProcessExpired as e:
            self.renew()
            status: Status = "oom" if e.exitcode == -signal.SIGKILL and oom_kills() > kills else "crashed"
            return self._lost(point, status, self._end(e), offset, started, start)
        except BaseException as e:
            self.renew()
            if isinstance(e, Exception) and not isinstance(e, self._ends):
                # A worker that cannot be opened again, a broken pool, a plug-in's mistake: whatever it is, it costs this point.
                return self._lost(point, "error", first_words(e), offset, started, start)
            # Ctrl-C, or what a plug-in raises to end a test.
            raise Interrupted(lost_row(self._opening["kind"], point, "error", first_words(e), started, start, cause=INTERRUPTED)) from e
        row = Row.model_validate_json(text)
        if unusable or row.cause in (CONTEXT_LOST, DEVICE_LOST):
            self.renew()
        return row

    def renew(self) -> None:
        """A new worker, which knows what the first one described."""
        self.close()
        self._opening["generation"] = self._opening.get("generation", 0) + 1
        self._pool = self._new_pool()
        self._opened = False

    def _lost(
        self, point: Point, status: Status, reason: str, offset: int, started: datetime, start: float, cause: str | None = None
    ) -> Row:
        output = worker.output(self._log, offset)
        error_file = keep_text(self._log.parent, point, f"{reason}\n\n{output}") if output else None
        return lost_row(self._opening["kind"], point, status, reason + self._last_words(offset), started, start, cause, error_file)

    def _end(self, error: Exception) -> str:
        """How a worker ended, for a reader."""
        if isinstance(error, FutureTimeout):
            return f"no answer after {OPENING_S:g} s"
        code = getattr(error, "exitcode", None)
        if isinstance(code, int) and code < 0:
            return f"the worker was ended by {signal.Signals(-code).name}"
        return f"the worker exited with code {code}"

    def _log_size(self) -> int:
        return self._log.stat().st_size if self._log.exists() else 0

    def _last_words(self, offset: int) -> str:
        words = worker.tail(self._log, offset)
        return f"; its last output: {words}" if words else ""

    def close(self) -> None:
        """Kills the worker, also in the middle of a point. A pool that does not stop in time is left to end with this process."""
        closing = threading.Thread(target=self._stop, daemon=True)
        closing.start()
        closing.join(CLOSING_S)

    def _stop(self) -> None:
        self._pool.stop()
        self._pool.join()


def lost_row(
    kind: str,
    point: Point,
    status: Status,
    reason: str,
    started: datetime,
    start: float,
    cause: str | None = None,
    error_file: str | None = None,
) -> Row:
    """A point of which nothing came back. kind: of the device. start: what time.perf_counter gave when it began."""
    times = {"started_utc": started.isoformat(timespec="milliseconds"), "wall_s": time.perf_counter() - start}
    op = OPS[point.op]
    cost, source = op.cost(point, "cpu" if kind == "cpu" else "cuda"), op.cost_source(point)
    return new_row(point, cost, status, reason, cause=cause, error_file=error_file, cost_source=source, **times)


def free_memory_share() -> int:
    """Returns the bytes that a worker may allocate: beyond these its own allocation fails, before another process runs out of memory."""
    return int(0.9 * psutil.virtual_memory().available)


def longest_call_s(limit_s: float) -> float:
    """The longest call of a point that may take `limit_s` seconds with its warm-up, gates and the fewest samples."""
    return limit_s / CALLS_OF_A_LONG_POINT


def oom_kills() -> int:
    """Processes that the kernel's out-of-memory killer has ended since boot; 0 where the system does not tell."""
    try:
        found = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0
