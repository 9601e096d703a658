"""Warm-up until times no longer move: clocks settle and heat builds up over tenths of a second, not over a fixed 25 ms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from benches.devices.base import Device, Method, Sample
from benches.timing.method import LONG_S

CHUNK_S = 0.05  # of launches back to back, then
CHUNK_SAMPLES, CHUNK_SAMPLES_S = 5, 0.005  # samples: so many, or of short calls as many as take so long
ONE_SAMPLE_S = 0.01  # of longer calls, one
WINDOW = 8  # chunks through which the line is laid
CLOCK_TOLERANCE = 0.01


@dataclass(frozen=True)
class WarmUp:
    """How long warming up took, and whether times had settled by then."""

    seconds: float
    moving: float | None = None  # relative, between the halves of the last window; None: steady


def moved(values: Sequence[float], tolerance: float) -> float | None:
    """How far a window's later half lies from its earlier one by the least-squares line through it, relative to the mean.

    None if that is within tolerance and two standard errors, which come from the residuals: noise is not movement.
    """
    y = np.asarray(values, dtype=float)
    t = np.arange(len(y)) - (len(y) - 1) / 2
    spread = float(t @ t)
    slope = float(t @ y) / spread
    residuals = y - y.mean() - slope * t
    error = math.sqrt(float(residuals @ residuals) / (len(y) - 2) / spread)
    half = len(y) / 2
    change = abs(slope) * half / float(y.mean())
    return None if change <= tolerance + 2 * error * half / float(y.mean()) else change


def warm_up(device: Device, workload: Any, method: Method, estimate_s: float) -> WarmUp:
    """Chunks of launches for at least `warmup_s`, until chunk medians agree within `half_width` and clocks within 1%, or `warmup_max_s`.

    Of calls longer than 0.1 s each is a chunk, and nothing is judged: their samples span seconds, so that the thirds show what moves.
    """
    settings, start = device.settings, device.now_s()
    times: list[float] = []
    clocks: list[float] = []
    while True:
        if estimate_s < CHUNK_S:
            device.run_for(workload, method, CHUNK_S, estimate_s)
        _note(_samples(device, workload, method, 1 if estimate_s > ONE_SAMPLE_S else CHUNK_SAMPLES), times, clocks)
        spent = device.now_s() - start
        if spent < settings.warmup_s:
            continue
        if estimate_s > LONG_S:
            return WarmUp(spent)
        if len(times) >= WINDOW:
            moving = moved(times[-WINDOW:], settings.half_width)
            clock_moving = moved(clocks[-WINDOW:], CLOCK_TOLERANCE) if len(clocks) >= WINDOW else None
            if moving is None and clock_moving is None:
                return WarmUp(spent)
            if spent >= settings.warmup_max_s:
                return WarmUp(spent, moving or clock_moving)
        elif spent >= settings.warmup_max_s:
            return WarmUp(spent)


def _samples(device: Device, workload: Any, method: Method, at_least: int) -> list[Sample]:
    start, samples = device.now_s(), device.take_samples(workload, method, at_least, watch=True)
    while len(samples) < at_least or (at_least > 1 and device.now_s() - start < CHUNK_SAMPLES_S):
        samples += device.take_samples(workload, method, at_least)
    return samples


def _note(samples: Sequence[Sample], times: list[float], clocks: list[float]) -> None:
    """A chunk's median time and clock, where it has any."""
    valid = [sample.seconds for sample in samples if sample.void is None]
    if valid:
        times.append(median(valid))
    told = [sample.reading.sm_clock_hz for sample in samples if sample.reading is not None and sample.reading.sm_clock_hz]
    if told:
        clocks.append(median(told))
