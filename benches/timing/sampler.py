"""Samples until the median is known well enough, or says that it is not. No sample is ever deleted by its value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from benches.devices.base import POWER_CAP, Device, Method, Sample, Settings, TooLittleMemory
from benches.row import Conditions, Status
from benches.timing.blocks import Collected, NoSamples, add_block, refuse_void, warm
from benches.timing.interval import WIDER, Interval, Z, median_interval, variance_inflation
from benches.timing.method import LONG_S, choose, first
from benches.timing.throttle import summarise

GROWTH = 1.5  # looks at n = 30, 46, 70, …: few enough that repeated looks cost little confidence
BEYOND = 2.0  # times the width wanted, that half as far out again may take: of a normal it takes 1.5 times, of 30 samples 2.2 times
PARTS = 6  # into which the first samples are divided where they must span some time
MIN_EFFECTIVE = 20  # samples' worth of independent ones; fewer, and the estimate of their correlation is itself too rough to trust
ENERGY_S = 3.0  # the driver's energy counter moves in steps of tenths of a second
ESTIMATE_SAMPLES, ESTIMATE_S = 5, 0.02  # first estimate: so many valid samples, or so long
ESTIMATE_LEAST = 3  # valid samples, however long they take
RESIZED = 0.8  # a graph of fewer launches than this share of what its own replays ask for is made again
FLOOR_BELOW_S = 1e-3  # a launch's 2 us matter up to here


@dataclass(frozen=True)
class Timing:
    """Samples in time order, unfiltered, in seconds; and how they were taken."""

    samples_s: list[float]
    interval: Interval
    status: Status  # ok, noisy or throttled
    reason: str | None
    method: Method
    dropped: dict[str, int]  # by cause; never for their value
    warmup_s: float
    duty: float | None  # of the time from the first sample's start to the last one's end, how much the device worked on samples
    enqueue_s: float | None  # host seconds a launch
    floor_s: float | None  # of a kernel that does nothing, timed alike; of short ones only
    conditions: Conditions

    @property
    def launch_bound(self) -> bool | None:
        """Whether the host takes longer to enqueue a launch than the device to run it: such launches run at the host's pace."""
        if self.method.mode == "host":
            return True
        return None if self.enqueue_s is None else self.enqueue_s > self.interval.median


def sample(device: Device, workload: Any, predicted_s: float | None = None) -> Timing:
    """Estimate, method, warm-up, blocks of samples. Raises NoSamples, TooLittleMemory, or what the kernel raises.

    predicted_s: what the cost model expects of a call.
    """
    settings = device.settings
    first_look = estimate(device, workload)
    method, estimate_s = prepare(device, workload, first_look, predicted_s)
    short = estimate_s < FLOOR_BELOW_S and method.mode in ("graph", "events")
    floor_s = device.floor_s(method) if short else None
    try:
        found, interval, unsure = collect(device, workload, method, estimate_s)
    except NoSamples:
        if method.mode != "events":
            raise
        method = by_host(device, workload)
        found, interval, unsure = collect(device, workload, method, estimate_s)
    if workload.touched < min(workload.sets, workload.launches):
        raise RuntimeError(f"{workload.launches} launches touched only {workload.touched} of {workload.sets} sets: the cache was not cold")
    # Back to back without the flush between, the caches would be hot: no energy is better than another's.
    energy_j = energy(device, workload, method, interval.median) if settings.energy and not method.flush else None
    status, reason = verdict(found, unsure)
    conditions = summarise(found.readings, found.causes, found.counted, energy_j)
    return Timing(
        samples_s=found.samples_s,
        interval=interval,
        status=status,
        reason=reason,
        method=method,
        dropped=dict(found.dropped),
        warmup_s=found.warm.seconds,
        duty=found.duty,
        enqueue_s=interval.median if method.mode == "host" else first_look.enqueue_s,
        floor_s=floor_s,
        conditions=conditions,
    )


@dataclass(frozen=True)
class Estimate:
    """A first few single calls: seconds of a call, and of the host to enqueue one. `by_host`: the device's own time is not known."""

    seconds: float
    enqueue_s: float | None
    by_host: bool = False


def estimate(device: Device, workload: Any) -> Estimate:
    """Medians of a first few single calls. The first launch and flush are not counted: kernels are loaded at their first use."""
    method = device.prepare(workload, first(workload.cost, device.l2_bytes, device.settings.cache))
    try:
        return _estimated(device, workload, method)
    except NoSamples:
        if method.mode != "events":
            raise
        return _estimated(device, workload, by_host(device, workload))


def _estimated(device: Device, workload: Any, method: Method) -> Estimate:
    if method.mode == "events":
        device.take_samples(workload, method)
    valid: list[Sample] = []
    void, start = 0, device.now_s()
    while len(valid) < ESTIMATE_LEAST or (len(valid) < ESTIMATE_SAMPLES and device.now_s() - start < ESTIMATE_S):
        (sample,) = device.take_samples(workload, method)
        if sample.void is None:
            valid.append(sample)
        else:
            void += 1
            refuse_void(void, sample.void)
        if sample.seconds > LONG_S:
            break  # eight samples of such a call are enough in all
    enqueued = [sample.enqueue_s for sample in valid if sample.enqueue_s is not None]
    seconds = median(sample.seconds for sample in valid or [sample])
    return Estimate(seconds, median(enqueued) if enqueued else None, method.mode == "host")


def prepare(device: Device, workload: Any, found: Estimate, predicted_s: float | None) -> tuple[Method, float]:
    """The method that suits, set up, and about how many seconds a call takes; with a read before each sample where the sets do not fit.

    A graph is sized by the estimate, which holds an event pair's overhead, and made again where its own replays show another time.
    """
    seconds = predicted_s if found.by_host and predicted_s is not None else found.seconds
    try:
        method = device.prepare(workload, _chosen(device, workload, seconds, found, predicted_s))
        if method.mode == "graph":
            seconds = min(device.take_samples(workload, method)[0].seconds for _ in range(ESTIMATE_LEAST))
            right = _chosen(device, workload, seconds, found, predicted_s)
            if right.mode != "graph" or method.launches < RESIZED * right.launches:
                method = device.prepare(workload, right)
        return method, seconds if method.mode == "graph" else found.seconds
    except TooLittleMemory:
        if workload.sets == 1:
            raise
        return device.prepare(workload, Method("events", flush=True)), found.seconds


def _chosen(device: Device, workload: Any, seconds: float, found: Estimate, predicted_s: float | None) -> Method:
    return choose(
        seconds,
        workload.cost,
        device.l2_bytes,
        device.free_bytes(),
        workload.rotatable,
        device.settings.cache,
        predicted_s=predicted_s,
        enqueue_s=found.enqueue_s or 0.0,
        whole=bool(workload.phases),
        capturable=workload.capturable,
    )


def by_host(device: Device, workload: Any) -> Method:
    """The host's clock, where holds turn out not to cover a call."""
    return device.prepare(workload, Method("host", sets=workload.sets))


def collect(device: Device, workload: Any, method: Method, estimate_s: float) -> tuple[Collected, Interval, str | None]:
    """Warms up and takes samples: those, the median's interval, and why that is not enough (None: converged)."""
    settings, found = device.settings, Collected()
    warm(device, workload, method, estimate_s, found)
    long = estimate_s * method.launches > LONG_S
    look, start = settings.long_samples if long else settings.min_samples, device.now_s()
    while True:
        add_spread(device, workload, method, look - len(found.samples_s), found, start)
        count = len(found.samples_s)
        spent = count >= settings.long_samples and device.now_s() - start - found.resting_s >= settings.max_s
        if count < look and not spent:
            continue
        interval = median_interval(found.samples_s)
        unsure = doubt(found.samples_s, interval, settings, long)
        if unsure is None or spent or count >= settings.max_samples:
            return found, interval, unsure
        look = min(settings.max_samples, int(count * GROWTH) + 1)


def add_spread(device: Device, workload: Any, method: Method, count: int, into: Collected, start_s: float) -> None:
    """A block of at most `count` samples; a smaller one, with untimed calls after it, until samples span the seconds wanted."""
    settings, begin_s = device.settings, device.now_s()
    if begin_s - start_s - into.resting_s >= settings.min_span_s:
        add_block(device, workload, method, count, into)
        return
    rested_s = into.resting_s
    add_block(device, workload, method, min(count, math.ceil(settings.min_samples / PARTS)), into)
    left_s = settings.min_span_s / PARTS - (device.now_s() - begin_s - (into.resting_s - rested_s))
    if left_s > 0:
        device.run_for(workload, method, left_s, into.each_s / method.launches)


def doubt(samples: list[float], interval: Interval, settings: Settings, long: bool) -> str | None:
    """Why the median is not known well enough yet, or None. Of long calls eight are enough: their extremes are a 99.2% interval."""
    n, wanted = len(samples), settings.half_width
    if interval.half_width > wanted:
        return f"the median's interval is ±{interval.half_width:.1%} after {n} samples, wanted ±{wanted:.1%}"
    third = max(1, n // 3)
    early, late = median(samples[:third]), median(samples[-third:])
    if abs(late - early) > wanted * interval.median:
        return f"the last third of {n} samples differs by {late / early - 1:+.1%} from the first, wanted within {wanted:.1%}"
    wider = median_interval(samples, WIDER * Z)
    if not long and wider.half_width > BEYOND * wanted:
        return f"the median of {n} samples is next to a gap: ±{interval.half_width:.1%} around it, ±{wider.half_width:.1%} just beyond"
    effective = n / variance_inflation(np.asarray(samples))
    if effective < MIN_EFFECTIVE and not long:
        return f"{n} samples are worth only {effective:.0f} independent ones, wanted {MIN_EFFECTIVE}"
    return None


def verdict(found: Collected, unsure: str | None) -> tuple[Status, str | None]:
    """The status and its reason."""
    if found.throttled:
        return "throttled", f"slowed by {', '.join(sorted(found.throttled))} after cooling {found.coolings} times"
    if unsure is not None:
        return "noisy", f"{unsure}; the power cap changes the clock" if POWER_CAP in found.causes else unsure
    if found.warm.moving is not None:
        return "noisy", f"not steady after {found.warm.seconds:.1f} s of warm-up: still moving by {found.warm.moving:.1%}"
    return "ok", None


def energy(device: Device, workload: Any, method: Method, launch_s: float) -> float | None:
    """Joules a call, over at least 3 s back to back; None where no energy is told."""
    start_s, before = device.now_s(), device.counters(energy=True).energy_j
    if before is None:
        return None
    launches = 0
    while device.now_s() - start_s < ENERGY_S:
        launches += device.run_for(workload, method, ENERGY_S / 4, launch_s)
    after = device.counters(energy=True).energy_j
    return None if after is None else (after - before) / launches
