"""Timing on a device that works through a stream: CUDA's, or the simulated one. What is a GPU's own lies behind `Stream`.

A launch hold, after nvbench: a kernel that spins for a while keeps the stream until the host has enqueued what is to be timed, so that the
time between two events is the device's and not the host's. Several samples are enqueued behind one hold, back to back, each between its
own events: a device that waits for the host between samples would neither draw the power nor run at the clock of sustained work. A sample
counts only if the device had not reached its start event when its end event was enqueued.

The hold is finite, so that it cannot deadlock, and the queue takes about 1,000 launches, after which the host waits for the device. A call
that no hold covers (it waits for the device itself, launches too many kernels, or needs a tenth of a second to enqueue) is timed by the
host's clock over many calls: such calls run at the host's pace.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any, Protocol

from benches.devices.base import Method, Reading, Sample

HOLD_S = 0.2e-3  # longer than a host needs to enqueue a flush, two events and a launch
HOLD_MAX_S = 0.1  # a host that needs longer for one call is slower than any kernel worth holding for
MARGIN = 1.5  # of a hold over what the host has needed so far
QUEUE = 300  # launches and events behind one hold; the 1,022nd made the host wait on an H100 (docs/validation)
LAUNCH_S = 4e-6  # a null kernel's time on the host of that H100: a call that takes 40 us makes ten launches at most
BESIDE = 3  # launches in a sample besides its own: the flush and two events
HOLD_TRIES = 5  # at covering one call with a hold, each after what the one before showed
NOT_HELD = "not enqueued in time"
HOST_CALLS, HOST_S = 8, 0.02  # a sample by the host's clock: so many calls, and so long
FLUSH_MIN_BYTES = 128 * 2**20
FLOOR_SAMPLES = 10


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

    def capture(self, launch: Callable[[], Any], count: int) -> Callable[[], Any]:
        """A graph of `count` launches, as a call that enqueues it. Raises CaptureFailed."""

    def synchronize(self) -> None: ...

    def rest(self, seconds: float) -> None: ...

    def now_s(self) -> float: ...


def flush_bytes(l2_bytes: int) -> int:
    """What a flush reads: twice the L2, and enough that no replacement policy keeps much."""
    return max(2 * l2_bytes, FLUSH_MIN_BYTES)


def hold_s(each_s: float, sample_s: float, count: int) -> float:
    """Seconds of the hold for `count` samples that take the host `each_s` each to enqueue and the device `sample_s`.

    It covers the first sample. It covers the others as far as the host falls behind the device while they run.
    """
    behind_s = max(0.0, MARGIN * each_s - sample_s)
    return max(HOLD_S, MARGIN * each_s + (count - 1) * behind_s)


def held_samples(count: int, call_s: float, each_s: float, sample_s: float) -> int:
    """How many of `count` samples go behind one hold: at least one, and no more than the queue and the longest hold take.

    call_s: the host's time for the call alone.
    """
    launches = BESIDE + max(1, math.ceil(call_s / LAUNCH_S))
    behind_s = max(0.0, MARGIN * each_s - sample_s)
    room = 1 + int((HOLD_MAX_S - MARGIN * each_s) / behind_s) if behind_s else count
    return max(1, min(count, QUEUE // launches, room))


class Board(Protocol):
    """What the device reports about itself."""

    def read(self) -> Reading:
        """Clocks, power, temperature and what slows the device, quickly enough to ask while samples run."""

    def counters(self, energy: bool = False) -> Reading:
        """What only grows: seconds slowed by cause, and with `energy` the joules so far."""


class Streamed:
    """The timing half of a device: `prepare`, `take_samples`, `run_for`, `floor_s`, `rest`."""

    def __init__(self, stream: Stream, board: Board):
        self.stream = stream
        self.read, self.counters = board.read, board.counters
        self.unusable = False  # a capture failed: PyTorch's allocator may believe that it still goes on, so this process should end
        self._replay: Callable[[], Any] | None = None  # the graph of the workload that was prepared last
        self._events: list[tuple[Event, Event]] = []  # used again: making one takes the host as long as a launch
        self._epoch = stream.event()
        self._epoch.record()
        self._forget()

    def _forget(self) -> None:
        """What one point needed implies nothing for the next."""
        self._call_s = self._each_s = self._sample_s = 0.0  # host: the call, a whole sample; device: a sample. As last seen

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

    def prepare(self, workload: Any, method: Method) -> Method:
        """Every set runs once outside of the graph first: kernels are loaded and workspaces allocated at the first launch."""
        self.disarm()
        self._forget()
        workload.rotate(method.sets)
        for _ in range(method.sets):
            workload.launch()
        self.stream.synchronize()
        workload.rotate(method.sets)  # so that the count of touched sets is that of the launches which are timed
        if method.mode == "graph":
            try:
                self._replay = self.stream.capture(workload.launch, method.launches)
            except CaptureFailed:
                self.unusable = True
                workload.rotate(method.sets)
                method = Method("events", 1, method.sets, method.flush)
        if method.mode == "host" or (method.mode == "events" and not self._can_hold(workload, method)):
            return self._by_host(workload, method)
        return method

    def _can_hold(self, workload: Any, method: Method) -> bool:
        """Whether a hold covers a call. Untimed: what is loaded at a first launch or flush does not count against it."""
        return any(self.take_samples(workload, method)[0].void is None for _ in range(HOLD_TRIES))

    def _by_host(self, workload: Any, method: Method) -> Method:
        """Enough calls for HOST_S. The cache is cold only where calls rotate through sets: no flush fits between calls back to back."""
        each_s = self._clocked_s(workload.launch, HOST_CALLS)
        return Method("host", max(HOST_CALLS, math.ceil(HOST_S / each_s)), method.sets)

    def take_samples(self, workload: Any, method: Method, count: int = 1, watch: bool = False) -> list[Sample]:
        """Up to `count` samples, at least one; with `watch`, one of them carries a reading."""
        if method.mode in ("wall", "host"):
            seconds = self._clocked_s(workload.launch, method.launches)
            host_s = seconds if method.mode == "host" else None
            return [Sample(seconds, enqueue_s=host_s, reading=self.read() if watch else None)]
        return self._behind_a_hold(self._replay or workload.launch, method, count, watch)

    def phase(self, call: Callable[[], Any]) -> float:
        return self._clocked_s(call, 1)

    def _clocked_s(self, call: Callable[[], Any], times: int) -> float:
        """Seconds a call by the host's clock, until the device has done them all."""
        begin = self.stream.now_s()
        for _ in range(times):
            call()
        self.stream.synchronize()
        return (self.stream.now_s() - begin) / times

    def _behind_a_hold(self, call: Callable[[], Any], method: Method, count: int, watch: bool) -> list[Sample]:
        stream = self.stream
        # A replay enqueues its whole graph at once; before anything was seen, one sample shows how long the host takes.
        call_s = LAUNCH_S if method.mode == "graph" else self._call_s
        count = held_samples(count, call_s, self._each_s, self._sample_s) if self._each_s else 1
        while len(self._events) < count:
            self._events.append((stream.event(), stream.event()))
        pairs = self._events[:count]
        calls_s: list[float] = []
        late: list[bool] = []
        stream.hold(min(HOLD_MAX_S, hold_s(self._each_s, self._sample_s, count)))
        begin = stream.now_s()
        for start, end in pairs:
            if method.flush:
                stream.flush()
            start.record()
            called = stream.now_s()
            call()
            calls_s.append(stream.now_s() - called)
            end.record()
            late.append(start.query())
        each_s = (stream.now_s() - begin) / count
        reading = None
        if watch:
            pairs[count // 2][0].synchronize()  # in the middle of the work, where clocks are those of the samples
            reading = self.read()
        pairs[-1][1].synchronize()
        times = [start.seconds_to(end) for start, end in pairs]
        self._call_s, self._each_s = median(calls_s), each_s
        self._sample_s = median(times)
        samples = [
            Sample(seconds / method.launches, call_s / method.launches, NOT_HELD if void else None, begin_s=self._epoch.seconds_to(start))
            for seconds, call_s, void, (start, _) in zip(times, calls_s, late, pairs, strict=True)
        ]
        samples[count // 2] = replace(samples[count // 2], reading=reading)
        return samples

    def run_for(self, workload: Any, method: Method, seconds: float, launch_s: float) -> int:
        call, calls = self._replay or workload.launch, 0
        launches = method.launches if method.mode == "graph" else 1  # in a call
        begin, wanted = self.stream.now_s(), max(1, round(seconds / (launch_s * launches)))
        while calls < wanted and (calls == 0 or self.stream.now_s() - begin < seconds):  # a host slower than the device sets the pace
            call()
            calls += 1
        self.stream.synchronize()
        return calls * launches

    def floor_s(self, method: Method) -> float | None:
        """Median seconds of a kernel that does nothing, over a few samples taken alike; None if none of them was held."""
        stream, call = self.stream, self.stream.null
        if method.mode == "graph":
            try:
                call = stream.capture(stream.null, method.launches)
            except CaptureFailed:
                self.unusable = True
                return None
        samples = [self._behind_a_hold(call, method, 1, watch=False)[0] for _ in range(FLOOR_SAMPLES)]
        self._forget()  # a null kernel's times, of the host and of the device, are not the workload's
        valid = [sample.seconds for sample in samples if sample.void is None]
        return median(valid) if valid else None
