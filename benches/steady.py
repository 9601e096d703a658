"""Warm-up until times no longer move: clocks settle and heat builds up over tenths of a second, not over a fixed 25 ms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benches.devices.base import Device, Method, Shot
from benches.method import LONG_S

CHUNK_S = 0.05  # of launches back to back, then
CHUNK_SHOTS = 5  # samples
WINDOW = 6  # chunks compared, the earlier half with the later
CLOCK_TOLERANCE = 0.01


@dataclass(frozen=True)
class WarmUp:
    seconds: float
    moving: float | None = None  # relative, between the halves of the last window; None: steady


def moved(values: Sequence[Sequence[float]], tolerance: float) -> float | None:
    """How far the later half of chunks lies from the earlier one, relative to it; None if within tolerance and three standard errors.

    A median's standard error is 1.2533·σ/√n for a normal; σ from the median absolute deviation (1.4826·MAD) about each half's median.
    """
    half = len(values) // 2
    halves = [[x for chunk in part for x in chunk] for part in (values[:half], values[-half:])]
    early, late = (median(part) for part in halves)
    variance = sum(
        (1.2533 * 1.4826 * median(abs(x - m) for x in part)) ** 2 / len(part) for part, m in zip(halves, (early, late), strict=True)
    )
    change = abs(late - early) / early
    return None if change <= tolerance + 3 * math.sqrt(variance) / early else change


def warm_up(device: Device, workload: Any, method: Method, estimate_s: float) -> WarmUp:
    """Chunks of launches for at least `warmup_s`, until chunk medians agree within `half_width` and clocks within 1%, or `warmup_max_s`.

    Of calls longer than 0.1 s each is a chunk, and nothing is judged: their samples span seconds, so that the thirds show what moves.
    """
    settings, start = device.settings, device.now_s()
    times: list[list[float]] = []
    clocks: list[list[float]] = []
    while True:
        if estimate_s < CHUNK_S:
            device.run_for(workload, method, CHUNK_S, estimate_s)
        shots = [device.shoot(workload, method, watch=i == 0) for i in range(1 if estimate_s > LONG_S else CHUNK_SHOTS)]
        _note(shots, times, clocks)
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


def _note(shots: Sequence[Shot], times: list[list[float]], clocks: list[list[float]]) -> None:
    valid = [shot.seconds for shot in shots if shot.void is None]
    if valid:
        times.append(valid)
    told = [shot.reading.sm_clock_hz for shot in shots if shot.reading is not None and shot.reading.sm_clock_hz]
    if told:
        clocks.append([float(clock) for clock in told])
