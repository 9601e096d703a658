"""Samples until the median is known well enough, or says that it is not. No sample is ever deleted by its value."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from benches.devices.base import Device, Method, Settings, Shot, TooLittleMemory
from benches.row import Conditions, Status
from benches.timing.blocks import Collected, add_block, warm
from benches.timing.interval import WIDER, Interval, Z, median_interval, variance_inflation
from benches.timing.method import GRAPH_BELOW_S, LONG_S, choose, first
from benches.timing.throttle import summarise

GROWTH = 1.5  # looks at n = 30, 46, 70, …: few enough that repeated looks cost little confidence
BEYOND = 2.0  # times the width wanted, that half as far out again may take: of a normal it takes 1.5 times, of 30 samples 2.2 times
MIN_EFFECTIVE = 20  # samples' worth of independent ones; fewer, and the estimate of their correlation is itself too rough to trust
ENERGY_S = 3.0  # the driver's energy counter moves in steps of tenths of a second
ESTIMATE_SHOTS, ESTIMATE_S = 5, 0.02  # first estimate: so many samples, or so long


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
    enqueue_s: float | None  # host seconds a launch
    floor_s: float | None  # of a kernel that does nothing, timed alike; of short ones only
    conditions: Conditions

    @property
    def launch_bound(self) -> bool | None:
        """Whether the host takes longer to enqueue a launch than the device to run it: such launches run at the host's pace."""
        return None if self.enqueue_s is None else self.enqueue_s > self.interval.median


def sample(device: Device, workload: Any) -> Timing:
    """Estimate, method, warm-up, blocks of samples. Raises NoSamples, TooLittleMemory, or what the kernel raises."""
    settings = device.settings
    estimate_s, enqueue_s = estimate(device, workload)
    method = arm(device, workload, estimate_s)
    short = estimate_s < GRAPH_BELOW_S and method.mode != "wall"
    floor_s = device.floor_s(method) if short else None
    found, interval, unsure = collect(device, workload, method, estimate_s)
    if workload.touched < min(workload.sets, workload.launches):
        raise RuntimeError(f"{workload.launches} launches touched only {workload.touched} of {workload.sets} sets: the cache was not cold")
    # Back to back without the flush between, the caches would be hot: no energy is better than another's.
    energy_j = energy(device, workload, method, interval.median) if settings.energy and not method.flush else None
    status, reason = verdict(found, unsure)
    conditions = summarise(found.readings, found.causes, energy_j)
    return Timing(
        found.samples_s, interval, status, reason, method, dict(found.dropped), found.warm.seconds, enqueue_s, floor_s, conditions
    )


def estimate(device: Device, workload: Any) -> tuple[float, float | None]:
    """Median seconds of a first few single launches, and the host's seconds to enqueue one. A void sample says enough."""
    method = first(workload.cost, device.l2_bytes, device.settings.cache)
    device.arm(workload, method)
    shots: list[Shot] = []
    start = device.now_s()
    while len(shots) < ESTIMATE_SHOTS and (not shots or device.now_s() - start < ESTIMATE_S):
        shots.append(device.shoot(workload, method))
    enqueued = [shot.enqueue_s for shot in shots if shot.enqueue_s is not None]
    return median(shot.seconds for shot in shots), median(enqueued) if enqueued else None


def arm(device: Device, workload: Any, estimate_s: float) -> Method:
    """The method that suits, set up; with a read before each sample where the sets turn out not to fit."""
    cache = device.settings.cache
    method = choose(estimate_s, workload.cost, device.l2_bytes, device.free_bytes(), workload.rotatable, cache, bool(workload.phases))
    try:
        return device.arm(workload, method)
    except TooLittleMemory:
        if method.sets == 1:
            raise
        return device.arm(workload, Method("events", flush=True))


def collect(device: Device, workload: Any, method: Method, estimate_s: float) -> tuple[Collected, Interval, str | None]:
    """Warms up and takes samples: those, the median's interval, and why that is not enough (None: converged)."""
    settings, found = device.settings, Collected()
    warm(device, workload, method, estimate_s, found)
    long = estimate_s > LONG_S
    look, start = settings.long_samples if long else settings.min_samples, device.now_s()
    while True:
        add_block(device, workload, method, look - len(found.samples_s), found)
        count = len(found.samples_s)
        spent = count >= settings.long_samples and device.now_s() - start - found.resting_s >= settings.max_s
        if count < look and not spent:
            continue
        interval = median_interval(found.samples_s)
        unsure = doubt(found.samples_s, interval, settings, long)
        if unsure is None or spent or count >= settings.max_samples:
            return found, interval, unsure
        look = min(settings.max_samples, int(count * GROWTH) + 1)


def doubt(samples: list[float], interval: Interval, settings: Settings, long: bool) -> str | None:
    """Why the median is not known well enough yet, or None. Of long calls eight are enough: their extremes are a 99.2% interval."""
    n, wanted = len(samples), settings.half_width
    if interval.half_width > wanted:
        return f"the median's interval is ±{interval.half_width:.1%} after {n} samples, wanted ±{wanted:.1%}"
    third = max(1, n // 3)
    early, late = median(samples[:third]), median(samples[-third:])
    if abs(late - early) > wanted * interval.median:
        return f"the last third of {n} samples lies {late / early - 1:+.1%} from the first, wanted within {wanted:.1%}"
    wider = median_interval(samples, WIDER * Z)
    if not long and wider.half_width > BEYOND * wanted:
        return f"the median of {n} samples lies beside a gap: ±{interval.half_width:.1%} around it, ±{wider.half_width:.1%} just beyond"
    effective = n / variance_inflation(np.asarray(samples))
    if effective < MIN_EFFECTIVE and not long:
        return f"{n} samples are worth only {effective:.0f} independent ones, wanted {MIN_EFFECTIVE}"
    return None


def verdict(found: Collected, unsure: str | None) -> tuple[Status, str | None]:
    """The status and its reason."""
    if found.throttled:
        return "throttled", f"slowed by {', '.join(sorted(found.throttled))} after cooling {found.coolings} times"
    if unsure is not None:
        return "noisy", unsure
    if found.warm.moving is not None:
        return "noisy", f"not steady after {found.warm.seconds:.1f} s of warm-up: still moving by {found.warm.moving:.1%}"
    return "ok", None


def energy(device: Device, workload: Any, method: Method, launch_s: float) -> float | None:
    """Joules a call, over at least 3 s back to back; None where no energy is told."""
    start_s, before = device.now_s(), device.read().energy_j
    if before is None:
        return None
    launches = 0
    while device.now_s() - start_s < ENERGY_S:
        launches += device.run_for(workload, method, ENERGY_S / 4, launch_s)
    after = device.read().energy_j
    return None if after is None else (after - before) / launches
