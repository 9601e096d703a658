"""Blocks of samples: what is dropped from them, for which cause, and how the device is cooled between tries. Nothing looks at values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from benches.devices.base import Device, Method, Reading
from benches.timing.throttle import COOL_S, slowed, spoiling
from benches.timing.warmup import WarmUp, warm_up

MAX_VOID = 50  # void samples in a row before giving up: the cause is not passing
BLOCK = 30  # samples between two looks at the counters
BLOCK_S = 0.25
WATCHED = 3  # of a block, with a reading: asking the driver takes as long as many samples
BURST_REST_S, BURST_S = 0.5, 0.05  # of the boost regime: idle, then no longer than clocks stay up


class NoSamples(Exception):
    """Every sample was void."""


@dataclass
class Collected:
    """Samples so far, in time order. Every sample taken is either in `samples_s` or counted in `dropped`."""

    samples_s: list[float] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)  # by cause
    causes: set[str] = field(default_factory=set)  # that slowed the samples kept
    throttled: set[str] = field(default_factory=set)  # those that would have had them dropped, had tries been left
    coolings: int = 0
    resting_s: float = 0.0  # with warming up again
    warm: WarmUp = field(default_factory=lambda: WarmUp(0.0))  # the last one


def add_block(device: Device, workload: Any, method: Method, count: int, into: Collected) -> None:
    """Up to `count` samples more; none if the block was spoilt, and the device has then been cooled. Raises NoSamples."""
    before = device.read()
    if device.settings.regime == "boost":
        _rest(device, BURST_REST_S, into)
        device.shoot(workload, method)
    samples, readings, void = _take(device, workload, method, count)
    into.dropped.update(void)
    causes = slowed(before, device.read())
    spoilt = spoiling(causes)
    if spoilt and into.coolings < len(COOL_S):
        into.dropped[spoilt[0]] += len(samples)
        _rest(device, COOL_S[into.coolings], into)
        into.coolings += 1
        warm(device, workload, method, samples[0], into)
        into.resting_s += into.warm.seconds
        return
    into.samples_s += samples
    into.readings += readings
    into.causes.update(causes)
    into.throttled.update(spoilt)


def warm(device: Device, workload: Any, method: Method, launch_s: float, into: Collected) -> None:
    """To a steady state, in the sustained regime: a device that has rested is faster than one that works, for a while."""
    if device.settings.regime == "sustained":
        into.warm = warm_up(device, workload, method, launch_s)


def _rest(device: Device, seconds: float, into: Collected) -> None:
    device.rest(seconds)
    into.resting_s += seconds


def _take(device: Device, workload: Any, method: Method, count: int) -> tuple[list[float], list[Reading], Counter[str]]:
    """At least one sample; fewer than `count` where they take long."""
    samples: list[float] = []
    readings: list[Reading] = []
    void: Counter[str] = Counter()
    lost = 0
    start, limit = device.now_s(), BURST_S if device.settings.regime == "boost" else BLOCK_S
    while len(samples) < min(count, BLOCK):
        shot = device.shoot(workload, method, watch=len(readings) < WATCHED)
        if shot.void is not None:
            void[shot.void] += 1
            lost += 1
            if lost == MAX_VOID:
                raise NoSamples(f"{MAX_VOID} samples in a row were void ({shot.void})")
            continue
        lost = 0
        samples.append(shot.seconds)
        if shot.reading is not None:
            readings.append(shot.reading)
        if device.now_s() - start > limit:
            break
    return samples, readings, void
