"""Timing on a device that works through a stream: CUDA's, or the simulated one. What is a GPU's own lies behind `Stream`.

A launch gate, after nvbench: a kernel that spins for a while holds the stream until the host has enqueued everything, so that the time
between two events is the device's and not the host's. The gate is finite, so that it cannot deadlock; a sample counts only if it had not
opened when the end event was enqueued.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any, Protocol

from benches.devices.base import Method, Reading, Shot

HOLD_S = 0.2e-3  # longer than a host needs to enqueue a flush, two events and a launch
HOLD_MAX_S = 0.01  # a host that needs longer for one launch is slower than any kernel worth holding for
GATE_LOST = "gate lost"
FLUSH_MIN_BYTES = 128 * 2**20
FLOOR_SHOTS = 10


class CaptureFailed(Exception):
    """The work cannot be recorded into a graph."""


class Event(Protocol):
    """As torch.cuda.Event is used here."""

    def record(self) -> None: ...

    def query(self) -> bool:
        """Whether the device has passed it."""

    def synchronize(self) -> None: ...

    def seconds_to(self, end: Any) -> float: ...


class Stream(Protocol):
    """Everything is enqueued in order; only `synchronize`, `rest` and an event's `synchronize` wait."""

    l2_bytes: int

    def free_bytes(self) -> int: ...

    def event(self) -> Event: ...

    def hold(self, seconds: float) -> None:
        """A kernel that spins for about so long."""

    def flush(self) -> None:
        """A read of more than the L2 holds."""

    def null(self) -> None:
        """A kernel that does nothing."""

    def repeat(self, launch: Callable[[], Any], count: int) -> None: ...

    def capture(self, launch: Callable[[], Any], count: int) -> Callable[[], Any]:
        """A graph of `count` launches, as a call that enqueues it. Raises CaptureFailed."""

    def synchronize(self) -> None: ...

    def rest(self, seconds: float) -> None: ...

    def now_s(self) -> float: ...


def flush_bytes(l2_bytes: int) -> int:
    """What a flush reads: twice the L2, and enough that no replacement policy keeps much."""
    return max(2 * l2_bytes, FLUSH_MIN_BYTES)


class Streamed:
    """The timing half of a device: `arm`, `shoot`, `run_for`, `floor_s`, `rest`."""

    def __init__(self, stream: Stream, read: Callable[[], Reading]):
        self.stream = stream
        self.read = read
        self._hold_s = HOLD_S
        self.spoilt = False  # a capture failed: PyTorch's allocator may believe that it still goes on, so this process should end
        self._replay: Callable[[], Any] | None = None  # the graph of the workload that was armed last

    @property
    def l2_bytes(self) -> int | None:
        return self.stream.l2_bytes

    def free_bytes(self) -> int | None:
        return self.stream.free_bytes()

    def now_s(self) -> float:
        return self.stream.now_s()

    def disturbance(self) -> str | None:
        """Other work on a GPU shows in its samples, and `doctor` names who does it."""
        return None

    def rest(self, seconds: float) -> None:
        self.stream.rest(seconds)

    def disarm(self) -> None:
        """Lets go of the graph, and so of the memory that it holds."""
        self._replay = None

    def arm(self, workload: Any, method: Method) -> Method:
        """Every set runs once outside of the graph first: kernels are loaded and workspaces allocated at the first launch."""
        self.disarm()
        self._hold_s = HOLD_S  # what one point needed says nothing of the next
        workload.rotate(method.sets)
        for _ in range(method.sets):
            workload.launch()
        self.stream.synchronize()
        workload.rotate(method.sets)  # so that the count of touched sets is that of the launches which are timed
        if method.mode == "graph":
            try:
                self._replay = self.stream.capture(workload.launch, method.launches)
            except CaptureFailed:
                self.spoilt = True
                workload.rotate(method.sets)
                return Method("events", 1, method.sets, method.flush)
        return method

    def shoot(self, workload: Any, method: Method, watch: bool = False) -> Shot:
        if method.mode == "wall":
            return Shot(self._wall_s(workload.launch, method.launches), reading=self.read() if watch else None)
        return self._shoot(self._call(workload), method, watch)

    def phase(self, call: Callable[[], Any]) -> float:
        return self._wall_s(call, 1)

    def _wall_s(self, call: Callable[[], Any], times: int) -> float:
        """Seconds a call by the host's clock, until the device has done them all."""
        begin = self.stream.now_s()
        for _ in range(times):
            call()
        self.stream.synchronize()
        return (self.stream.now_s() - begin) / times

    def _call(self, workload: Any) -> Callable[[], Any]:
        return self._replay or workload.launch

    def _shoot(self, call: Callable[[], Any], method: Method, watch: bool) -> Shot:
        stream = self.stream
        opened, start, end = stream.event(), stream.event(), stream.event()
        stream.hold(self._hold_s)
        opened.record()
        if method.flush:
            stream.flush()
        start.record()
        begin = stream.now_s()
        call()
        enqueue_s = stream.now_s() - begin
        end.record()
        lost = opened.query()
        reading = self.read() if watch else None
        end.synchronize()
        if lost:
            self._hold_s = min(2 * self._hold_s, HOLD_MAX_S)
        return Shot(start.seconds_to(end) / method.launches, enqueue_s / method.launches, GATE_LOST if lost else None, reading)

    def run_for(self, workload: Any, method: Method, seconds: float, launch_s: float) -> int:
        call, calls = self._call(workload), 0
        launches = method.launches if method.mode == "graph" else 1  # in a call
        begin, wanted = self.stream.now_s(), max(1, round(seconds / (launch_s * launches)))
        while calls < wanted and (calls == 0 or self.stream.now_s() - begin < seconds):  # a host slower than the device sets the pace
            call()
            calls += 1
        self.stream.synchronize()
        return calls * launches

    def floor_s(self, method: Method) -> float | None:
        """Median over a few samples of a kernel that does nothing; void ones are left out, None if all are."""
        stream, call = self.stream, self.stream.null
        if method.mode == "graph":
            try:
                call = stream.capture(stream.null, method.launches)
            except CaptureFailed:
                self.spoilt = True
                return None
        shots = [self._shoot(call, method, watch=False) for _ in range(FLOOR_SHOTS)]
        valid = [shot.seconds for shot in shots if shot.void is None]
        return median(valid) if valid else None
