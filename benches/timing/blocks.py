"""Blocks of samples: what is dropped from them, for which cause, and how the device is cooled between tries. Nothing looks at values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benches.devices.base import Device, Method, Reading, Sample
from benches.timing.throttle import COOL_S, slowed, spoiling
from benches.timing.warmup import WarmUp, warm_up

MAX_VOID = 50  # void samples in a row before giving up: the cause is not passing
BLOCK = 30  # samples between two looks at the counters
BLOCK_S = 0.25
WATCHED = 3  # readings of a block
BURST_REST_S, BURST_S = 0.5, 0.05  # of the boost regime: idle, then no longer than clocks stay up


class NoSamples(Exception):
    """Every sample was void."""


@dataclass
class Collected:
    """Samples so far, in time order. Every sample taken is either in `samples_s` or counted in `dropped`."""

    samples_s: list[float] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)  # by cause
    counted: bool = False  # the device counts what slows it
    causes: set[str] = field(default_factory=set)  # that slowed the samples kept
    throttled: set[str] = field(default_factory=set)  # those that would have had them dropped, had tries been left
    coolings: int = 0
    resting_s: float = 0.0  # with warming up again
    warm: WarmUp = field(default_factory=lambda: WarmUp(0.0))  # the last one
    each_s: float = 0.0  # the device's seconds for a sample, as last seen
    working_s: float = 0.0  # of the device, on samples, and
    spanning_s: float = 0.0  # from the first start to the last end of each block

    @property
    def duty(self) -> float | None:
        """How much of the time in which samples were taken the device worked on them; None where it does not report their starts."""
        return min(1.0, self.working_s / self.spanning_s) if self.spanning_s else None


def add_block(device: Device, workload: Any, method: Method, count: int, into: Collected) -> None:
    """Up to `count` samples more; none if the block was throttled, and the device has then been cooled. Raises NoSamples."""
    before = device.counters()
    into.counted |= bool(before.slowed_s)
    if device.settings.regime == "boost":
        _rest(device, BURST_REST_S, into)
        device.take_samples(workload, method)
    samples, readings, void = _take(device, workload, method, count, into)
    into.dropped.update(void)
    causes = slowed(before, device.counters())
    throttled_by = spoiling(causes)
    if throttled_by and into.coolings < len(COOL_S):
        into.dropped[throttled_by[0]] += len(samples)
        _rest(device, COOL_S[into.coolings], into)
        into.coolings += 1
        warm(device, workload, method, samples[0], into)
        into.resting_s += into.warm.seconds
        return
    into.samples_s += samples
    into.readings += readings
    into.causes.update(causes)
    into.throttled.update(throttled_by)


def warm(device: Device, workload: Any, method: Method, launch_s: float, into: Collected) -> None:
    """To a steady state, in the sustained regime: a device that has rested is faster than one that works, for a while."""
    if device.settings.regime == "sustained":
        into.warm = warm_up(device, workload, method, launch_s)


def _rest(device: Device, seconds: float, into: Collected) -> None:
    device.rest(seconds)
    into.resting_s += seconds


def _take(device: Device, workload: Any, method: Method, count: int, into: Collected) -> tuple[list[float], list[Reading], Counter[str]]:
    """At least one sample; fewer than `count` where they take long. In bursts one by one, else as many at a time as the device takes."""
    drawn: list[Sample] = []
    lost = valid = 0
    boost = device.settings.regime == "boost"
    start, limit = device.now_s(), BURST_S if boost else BLOCK_S
    while valid < min(count, BLOCK):
        watched = sum(sample.reading is not None for sample in drawn)
        in_time = 1 if boost or not into.each_s else int((limit - (device.now_s() - start)) / into.each_s)
        taken = device.take_samples(workload, method, max(1, min(min(count, BLOCK) - valid, in_time)), watch=watched < WATCHED)
        drawn += taken
        into.each_s = taken[-1].seconds * method.launches
        for sample in taken:
            lost = lost + 1 if sample.void else 0
            valid += sample.void is None
        refuse_void(lost, taken[-1].void)
        if valid and device.now_s() - start > limit:
            break
    _note_duty(drawn, method, into)
    samples = [sample.seconds for sample in drawn if sample.void is None]
    readings = [sample.reading for sample in drawn if sample.reading is not None]
    return samples, readings, Counter(sample.void for sample in drawn if sample.void is not None)


def refuse_void(in_a_row: int, cause: str | None) -> None:
    """Raises NoSamples after so many void samples in a row that their cause does not pass."""
    if in_a_row >= MAX_VOID:
        raise NoSamples(f"{in_a_row} samples in a row were void ({cause})")


def _note_duty(samples: Sequence[Sample], method: Method, into: Collected) -> None:
    begins = [sample.begin_s for sample in samples if sample.begin_s is not None]
    if len(begins) == len(samples):
        into.working_s += sum(sample.seconds for sample in samples) * method.launches
        into.spanning_s += begins[-1] + samples[-1].seconds * method.launches - begins[0]
