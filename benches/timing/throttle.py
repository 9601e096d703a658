"""Slowdowns by heat or hardware, from counters that only grow. Pure.

A flag that is polled misses what happens between polls; the difference of two counters does not. The power cap (`POWER_CAP`) is normal
for long products on an H100: its samples are kept and labelled. Heat, hardware and the power brake are states that pass: the samples
are dropped, the device cools, and they are taken again.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from benches.devices.base import POWER_CAP, Reading
from benches.row import Conditions

LABELLED = (POWER_CAP, "board limit", "reliability")  # kept: the first is normal, and whether the others are, no board has yet shown
COOL_S = (0.25, 1.0, 4.0)  # rests before the first, second and third retry; after that the number is kept as throttled


def slowed(before: Reading, after: Reading) -> dict[str, float]:
    """Seconds by cause that the clock was held down between two readings; a counter that either lacks is left out."""
    known = before.slowed_s.keys() & after.slowed_s.keys()
    grown = {cause: after.slowed_s[cause] - before.slowed_s[cause] for cause in sorted(known)}
    return {cause: seconds for cause, seconds in grown.items() if seconds > 0}


def spoiling(causes: Sequence[str] | dict[str, float]) -> list[str]:
    """Those for which samples are dropped."""
    return [cause for cause in causes if cause not in LABELLED]


def summarise(readings: Sequence[Reading], causes: set[str], counted: bool, energy_j: float | None = None) -> Conditions:
    """Medians over the readings, and every cause that a counter or a flag named; None where nothing is known.

    counted: whether the device has counters of causes.
    """

    def middle(name: str) -> float | None:
        told = [value for reading in readings if (value := getattr(reading, name)) is not None]
        return median(told) if told else None

    flags = [reading.reasons for reading in readings if reading.reasons is not None]
    return Conditions(
        sm_clock_hz=middle("sm_clock_hz"),
        memory_clock_hz=middle("memory_clock_hz"),
        power_w=middle("power_w"),
        temperature_c=middle("temperature_c"),
        energy_j=energy_j,
        throttle_reasons=sorted(causes.union(*flags)) if flags or counted else None,
    )
