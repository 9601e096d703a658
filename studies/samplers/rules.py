"""The samplers: ours, and the published rules of others in our own code, with the constants that they ship with.

Sources: Triton `triton.testing.do_bench` and `do_bench_cudagraph`; nvbench `measure_cold` with `stdrel_criterion`; PyTorch Inductor
`InductorBenchmarker.benchmark_gpu`. What the simulated device does not have is left out: it does not charge a kernel for the dirty
lines that zeroing the cache leaves, which flatters those that zero.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np

from benches.devices.base import Method
from benches.devices.simulated import SimulatedDevice, SimulatedWorkload
from benches.timing.sampler import sample

TRITON_WARMUP_S, TRITON_REP_S, TRITON_GRAPH_REP_S, TRITON_REPLAYS = 0.025, 0.1, 0.02, 10
NVBENCH_MIN_S, NVBENCH_TIMEOUT_S, NVBENCH_NOISE, NVBENCH_MIN_SAMPLES = 0.5, 15.0, 0.005, 10
NVBENCH_WINDOW, NVBENCH_STABLE, NVBENCH_CLOCK, NVBENCH_COOL_S = 512, 0.05, 0.75, 0.05
INDUCTOR_ITERATIONS, INDUCTOR_MAX_S = 100, 0.025
COLD, HOT = Method("events", flush=True), Method("events")


@dataclass(frozen=True)
class Estimate:
    seconds: float
    low_s: float | None = None
    high_s: float | None = None
    status: str = "ok"  # those without a verdict call everything fine
    reason: str | None = None


Rule = Callable[[SimulatedDevice, SimulatedWorkload], Estimate]


def ours(device: SimulatedDevice, workload: SimulatedWorkload) -> Estimate:
    timing = sample(device, workload)
    return Estimate(timing.interval.median, timing.interval.low, timing.interval.high, timing.status, timing.reason)


def _pair(device: SimulatedDevice, workload: SimulatedWorkload, flush: bool) -> float:
    """One launch between two events, without a gate."""
    stream = device.stream
    if flush:
        stream.flush()
    start, end = stream.event(), stream.event()
    start.record()
    workload.launch()
    end.record()
    return start.seconds_to(end)


def _rough(device: SimulatedDevice, workload: SimulatedWorkload, flush: bool) -> float:
    """Five calls between one pair of events, as Triton and Inductor size their runs; what clears the cache is in it."""
    stream = device.stream
    workload.launch()
    stream.synchronize()
    start, end = stream.event(), stream.event()
    start.record()
    for _ in range(5):
        if flush:
            stream.flush()
        workload.launch()
    end.record()
    end.synchronize()
    return start.seconds_to(end) / 5


def do_bench(device: SimulatedDevice, workload: SimulatedWorkload) -> Estimate:
    """Mean of about 100 ms of event pairs after 25 ms of warm-up, the cache cleared before each."""
    rough = _rough(device, workload, flush=True)
    for _ in range(max(1, int(TRITON_WARMUP_S / rough))):
        workload.launch()
    times = [_pair(device, workload, flush=True) for _ in range(max(1, int(TRITON_REP_S / rough)))]
    device.stream.synchronize()
    return Estimate(fmean(times))


def do_bench_cudagraph(device: SimulatedDevice, workload: SimulatedWorkload) -> Estimate:
    """Mean of ten replays of a graph of 20 ms of calls."""
    stream = device.stream
    count = max(1, int(TRITON_GRAPH_REP_S / _rough(device, workload, flush=False)))
    replay = stream.capture(workload.launch, count)
    times = []
    for _ in range(TRITON_REPLAYS):
        start, end = stream.event(), stream.event()
        start.record()
        replay()
        end.record()
        end.synchronize()
        times.append(start.seconds_to(end) / count)
    return Estimate(fmean(times))


def nvbench(device: SimulatedDevice, workload: SimulatedWorkload) -> Estimate:
    """Mean of gated cold samples until at least 0.5 s of them vary by less than 0.5%, or their variation has settled, or 15 s."""
    device.take_samples(workload, COLD)
    begin = device.now_s()
    times: list[float] = []
    total = squares = 0.0
    noises: deque[float] = deque(maxlen=NVBENCH_WINDOW)
    while device.now_s() - begin < NVBENCH_TIMEOUT_S:
        watch = len(times) % 16 == 0  # it reads the clock in every sample; here in some, to save our time
        (sample,) = device.take_samples(workload, COLD, watch=watch)
        clock = sample.reading.sm_clock_hz if sample.reading else None
        if clock is not None and clock < NVBENCH_CLOCK * device.gpu.boost_clock_hz:
            device.rest(NVBENCH_COOL_S)
            continue
        times.append(sample.seconds)
        total += sample.seconds
        squares += sample.seconds**2
        n, mean = len(times), total / len(times)
        if n < 2:
            continue
        noises.append(max(0.0, (squares - n * mean**2) / (n - 1)) ** 0.5 / mean)
        if n < NVBENCH_MIN_SAMPLES or total <= NVBENCH_MIN_S:
            continue
        if noises[-1] < NVBENCH_NOISE:
            break
        if len(noises) > 64 and n % 16 == 0:
            window = np.array(noises)
            if np.sqrt(np.mean((window - noises[-1]) ** 2)) / noises[-1] < NVBENCH_STABLE:
                break
    return Estimate(fmean(times)) if times else Estimate(float("nan"), status="no rows")


def inductor(device: SimulatedDevice, workload: SimulatedWorkload) -> Estimate:
    """The least of 5 and of up to 100 event pairs in at most 25 ms, the cache cleared before each."""
    first = [_pair(device, workload, flush=True) for _ in range(5)]
    count = min(INDUCTOR_ITERATIONS, max(1, int(INDUCTOR_MAX_S / min(first))))
    for _ in range(100):
        device.stream.flush()
    times = [_pair(device, workload, flush=True) for _ in range(count)]
    device.stream.synchronize()
    return Estimate(min(first + times))


def fixed_100(device: SimulatedDevice, workload: SimulatedWorkload) -> Estimate:
    """Median of 100 event pairs after 10 calls; nothing is cleared and nothing held."""
    for _ in range(10):
        workload.launch()
    times = []
    for _ in range(100):
        times.append(_pair(device, workload, flush=False))
        device.stream.synchronize()
    return Estimate(median(times))


RULES: dict[str, Rule] = {
    "ours": ours,
    "nvbench stdrel": nvbench,
    "do_bench": do_bench,
    "do_bench_cudagraph": do_bench_cudagraph,
    "Inductor's minimum": inductor,
    "fixed 100": fixed_100,
}
