"""A GPU in virtual time: a host and a stream with clocks of their own, an L2, a chip that warms up and throttles, and noise.

Nothing waits: enqueuing a kernel computes at once when it will start and end. Seconds and bytes throughout. All of it follows from a seed.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benches.devices.base import POWER_CAP, Reading
from benches.devices.streamed import CaptureFailed, flush_bytes
from kernels.gpus import Gpu

IDLE_GAP_S = 0.01  # power management averages over about so long: shorter gaps do not cool the chip
WARM_S, COOL_DOWN_S = 0.12, 0.3  # how fast clocks sink from boost to sustained under load, and come back when idle
# Overheads as an H100 showed them on 2026-11-26 (docs/validation): device seconds of a kernel that does nothing, in a graph; what a launch
# outside of a graph, an event and the launch of a graph add. One launch between two events is 2.05 us longer than one in a long graph.
NULL_S, LAUNCH_S, EVENT_S, GRAPH_S = 0.96e-6, 0.8e-6, 1.25e-6, 0.85e-6
HOST_CALL_S = 4.0e-6  # host seconds of an event, a spin or the replay of a graph
QUERY_S = 0.17e-6  # host seconds of asking an event
QUEUE = 1022  # launches and events that wait for the device; the next one makes the host wait
LAUNCH_NOISE_S = 10e-6  # where blocks start and what they meet evens out over longer kernels
IDLE_W, BUSY_W = 80.0, 600.0
IDLE_C = 35.0
THERMAL = "thermal"


@dataclass(frozen=True)
class Slowdown:
    """A stretch of the device's time in which the clock is held down, whatever the temperature."""

    start_s: float
    end_s: float
    factor: float  # on a kernel's time
    cause: str = THERMAL


@dataclass(frozen=True)
class Behaviour:
    """What a simulated GPU does to a kernel's true time. The true time is that of a warm chip, before noise."""

    noise: float = 0.003  # standard deviation of a sample, relative; what a neighbour or the memory's refresh does
    rho: float = 0.5  # correlation of that with the sample before: it changes more slowly than launches do
    launch_noise: float = 0.01  # the same of a launch of 10 us or less, independent; long ones and graphs average it away
    resolution_s: float = 32e-9  # of an event
    outlier_rate: float = 0.0
    outlier_factor: float = 2.0
    second_mode: float = 0.0  # relative; half of the samples take so much longer
    drift_per_s: float = 0.0  # relative growth for as long as the device lives
    boost: float = 0.03  # how much faster a cold chip is
    busy_c: float = 62.0  # the temperature under lasting load
    heat_s: float = 8.0  # how fast it gets there
    throttle_c: float = 87.0  # where it slows down, until 5 °C cooler
    throttle_factor: float = 1.4
    slowdowns: tuple[Slowdown, ...] = ()
    host_launch_s: float = 6e-6  # of a call
    launches: int = 1  # kernels in a call
    waits: bool = False  # a call waits for the device before its last launch
    capturable: bool = True
    host_stall_rate: float = 0.0  # share of launches at which the host is taken away
    host_stall_s: float = 1e-3
    nvml_fails_at_s: float = math.inf


class VirtualEvent:
    """Holds the time at which the virtual device passes it."""

    def __init__(self, gpu: VirtualGpu):
        self._gpu = gpu
        self.at_s = 0.0

    def record(self) -> None:
        self._gpu.enqueue(EVENT_S, HOST_CALL_S)
        self.at_s = self._gpu.device_s

    def query(self) -> bool:
        self._gpu.host_s += QUERY_S
        return self._gpu.host_s >= self.at_s

    def synchronize(self) -> None:
        self._gpu.host_s = max(self._gpu.host_s, self.at_s)

    def seconds_to(self, end: VirtualEvent) -> float:
        step = self._gpu.behaviour.resolution_s
        return (round(end.at_s / step) - round(self.at_s / step)) * step


class VirtualGpu:
    """The stream, and what NVML would tell. `host_s` and `device_s` are how far each has come."""

    def __init__(self, gpu: Gpu, behaviour: Behaviour, seed: int):
        self.gpu, self.behaviour, self.l2_bytes = gpu, behaviour, gpu.l2_bytes
        self.host_s = self.device_s = self.busy_s = 0.0
        self._random = np.random.default_rng(seed)
        self._fresh_noise = behaviour.noise * math.sqrt(1 - behaviour.rho**2)
        self._sample_noise = self._random.normal(0.0, behaviour.noise)
        self._warmth = 0.0  # 0: clocks at their boost, 1: at their sustained value
        self._temperature_c = IDLE_C
        self._hot = False
        self._slowed_s = {THERMAL: 0.0, POWER_CAP: 0.0, **{s.cause: 0.0 for s in behaviour.slowdowns}}
        self._energy_j = 0.0
        self._resident: OrderedDict[Hashable, float] = OrderedDict()  # the L2, least recently used first
        self._resident_bytes = 0.0
        self._queue: deque[float] = deque()  # when the device ends what was enqueued last, oldest first
        self._recording: list[float] | None = None  # while a graph is captured: what its kernels take, warm and without noise

    # What a stream does

    def free_bytes(self) -> int:
        return self.gpu.memory_bytes

    def event(self) -> VirtualEvent:
        return VirtualEvent(self)

    def now_s(self) -> float:
        return self.host_s

    def synchronize(self) -> None:
        """Raises CaptureFailed while a graph is captured: nothing runs that could be waited for."""
        if self._recording is not None:
            self._recording = None
            raise CaptureFailed("a call waits for the device")
        self.host_s = max(self.host_s, self.device_s)

    def rest(self, seconds: float) -> None:
        self.synchronize()
        self.host_s += seconds

    def hold(self, seconds: float) -> None:
        self.enqueue(seconds, HOST_CALL_S)

    def null(self) -> None:
        self.enqueue(NULL_S if self._recording is not None else NULL_S + LAUNCH_S, HOST_CALL_S)

    def flush(self) -> None:
        self._keep_only("flush", self.l2_bytes)
        self.enqueue(NULL_S + LAUNCH_S + flush_bytes(self.l2_bytes) / self.gpu.bandwidth_bytes_per_s, self.behaviour.host_launch_s)

    def kernel(self, cold_s: float, hot_s: float, buffers: Hashable, bytes_: float) -> None:
        """One call over `buffers`, cold unless all of them are in the L2."""
        b = self.behaviour
        if b.host_stall_rate and self._random.random() < b.host_stall_rate:
            self.host_s += b.host_stall_s
        base_s = (cold_s if self._miss(buffers, bytes_) else hot_s) / b.launches
        for _ in range(b.launches - 1):
            self._enter_queue(b.host_launch_s / b.launches)
            self._advance(base_s)
        if b.waits:
            self.synchronize()
        self._enter_queue(b.host_launch_s / b.launches)
        self._kernels(base_s, 1, LAUNCH_S)

    def _advance(self, seconds: float) -> None:
        """One of a call's many launches: without noise and heat, which take long to simulate for thousands."""
        if self._recording is not None:
            self._recording.append(seconds)
            return
        self.device_s = max(self.device_s, self.host_s) + seconds
        self.busy_s += seconds
        self._queue.append(self.device_s)

    def enqueue(self, seconds: float, host_s: float) -> None:
        """Work for so many seconds, which the host takes `host_s` to enqueue."""
        self._enter_queue(host_s)
        self.run(seconds)

    def _enter_queue(self, host_s: float) -> None:
        self.host_s += host_s
        queue = self._queue
        while queue and queue[0] <= self.host_s:
            queue.popleft()
        if len(queue) >= QUEUE:
            self.host_s = queue.popleft()

    def capture(self, launch: Callable[[], Any], count: int) -> Callable[[], None]:
        """Runs the launches once to learn what they take without noise: sets that rotate through less than the L2 are hot from then on.

        Raises CaptureFailed.
        """
        if not self.behaviour.capturable:
            raise CaptureFailed("scripted: the call cannot be captured")
        for _ in range(2):  # the second time round, the L2 is as it will be
            recording: list[float] = []
            self._recording = recording
            for _ in range(count):
                launch()
            self._recording = None
        total_s = sum(recording)

        def replay() -> None:
            self._enter_queue(HOST_CALL_S)
            self._kernels(total_s / count, count, GRAPH_S)

        return replay

    # What a chip does

    def run(self, seconds: float) -> None:
        """Lets the device work for so long, once it is free and the host has enqueued it."""
        if self._recording is not None:
            self._recording.append(seconds)
            return
        start = max(self.device_s, self.host_s)
        if start > self.device_s:
            self._pass(start - self.device_s, busy=False)
        self._pass(seconds, busy=True)
        self.device_s = start + seconds
        self.busy_s += seconds
        self._queue.append(self.device_s)

    def _kernels(self, base_s: float, count: int, launching_s: float) -> None:
        """`count` launches of `base_s` each, with everything that the chip and its neighbours do to them, after `launching_s`."""
        if self._recording is not None:
            self._recording.append(base_s * count)
            return
        b = self.behaviour
        start = max(self.device_s, self.host_s)
        standard_normal = self._random.standard_normal  # `normal` checks its arguments at each of 100,000 launches
        self._sample_noise = b.rho * self._sample_noise + self._fresh_noise * standard_normal()
        averaged = math.sqrt(count * max(1.0, base_s / LAUNCH_NOISE_S))
        factor = 1 + self._sample_noise + b.launch_noise / averaged * standard_normal()
        if b.outlier_rate and self._random.random() < b.outlier_rate:
            factor *= b.outlier_factor
        if b.second_mode and self._random.random() < 0.5:
            factor *= 1 + b.second_mode
        factor *= (1 + b.drift_per_s * start) * self._pace(start)
        seconds = max(0.1, factor) * base_s * count
        cause = self._cause(start)
        if cause:
            self._slowed_s[cause] += seconds
        self.run(launching_s + seconds)

    def _pace(self, at_s: float) -> float:
        """A kernel's time over its true time, by the clocks."""
        return (1 - self.behaviour.boost * (1 - self._warmth)) * self._slowdown(at_s)

    def _slowdown(self, at_s: float) -> float:
        throttled = self.behaviour.throttle_factor if self._hot else 1.0
        if not self.behaviour.slowdowns:
            return throttled
        return max([throttled, *(s.factor for s in self.behaviour.slowdowns if s.start_s <= at_s < s.end_s)])

    def _cause(self, at_s: float) -> str | None:
        for slowdown in self.behaviour.slowdowns:
            if slowdown.start_s <= at_s < slowdown.end_s:
                return slowdown.cause
        return THERMAL if self._hot else None

    def _pass(self, seconds: float, busy: bool) -> None:
        """Warmth, temperature and energy after so long."""
        b = self.behaviour
        if busy:
            self._warmth = 1 - (1 - self._warmth) * math.exp(-seconds / WARM_S)
        elif seconds > IDLE_GAP_S:
            self._warmth *= math.exp(-seconds / COOL_DOWN_S)
        towards = b.busy_c if busy or seconds <= IDLE_GAP_S else IDLE_C
        self._temperature_c = towards + (self._temperature_c - towards) * math.exp(-seconds / b.heat_s)
        self._hot = self._temperature_c > b.throttle_c - (5.0 if self._hot else 0.0)
        self._energy_j += seconds * (BUSY_W if busy else IDLE_W)

    def _miss(self, buffers: Hashable, bytes_: float) -> bool:
        """Whether any of `bytes_` is not resident; afterwards they are, and the least recently used are gone.

        There is nothing in between: what is partly gone evicts the rest of itself as it is read again, line by line.
        """
        if bytes_ > self.l2_bytes:
            self._keep_only(buffers, 0.0)
            return True
        held = self._resident.pop(buffers, 0.0)
        self._resident[buffers] = bytes_
        self._resident_bytes += bytes_ - held
        while self._resident_bytes > self.l2_bytes:
            oldest = next(iter(self._resident))
            taken = min(self._resident[oldest], self._resident_bytes - self.l2_bytes)
            self._resident[oldest] -= taken
            self._resident_bytes -= taken
            if self._resident[oldest] <= 0:
                del self._resident[oldest]
        return held < bytes_

    def _keep_only(self, buffers: Hashable, bytes_: float) -> None:
        self._resident.clear()
        self._resident[buffers] = self._resident_bytes = bytes_

    # What NVML tells

    def read(self) -> Reading:
        if self.host_s >= self.behaviour.nvml_fails_at_s:
            return Reading()
        cause = self._cause(self.device_s)
        return Reading(
            sm_clock_hz=self.gpu.boost_clock_hz / self._pace(self.device_s),
            memory_clock_hz=2.619e9,
            power_w=IDLE_W + (BUSY_W - IDLE_W) * self._warmth,
            temperature_c=self._temperature_c,
            reasons=(cause,) if cause else (),
        )

    def counters(self, energy: bool = False) -> Reading:
        if self.host_s >= self.behaviour.nvml_fails_at_s:
            return Reading()
        return Reading(slowed_s=dict(self._slowed_s), energy_j=self._energy_j if energy else None)
