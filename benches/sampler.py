"""Samples until the median is known well enough, or says that it is not. No sample is ever deleted by its value."""

from __future__ import annotations

from dataclasses import dataclass

from benches.devices.base import Device, Settings, Workload
from benches.interval import Interval, median_interval

GROWTH = 1.5  # looks at n = 30, 46, 70, …: few enough that repeated looks cost little confidence
MAX_VOID = 50  # void samples in a row before giving up: the cause is not passing


class NoSamples(Exception):
    """Every sample was void."""


@dataclass(frozen=True)
class Timing:
    """Samples in time order, unfiltered, in seconds."""

    samples_s: list[float]
    interval: Interval
    converged: bool
    void: int  # samples dropped for a cause, never for their value

    def reason(self, settings: Settings) -> str | None:
        if self.converged:
            return None
        width = f"±{self.interval.half_width:.1%} after {len(self.samples_s)} samples, wanted ±{settings.half_width:.1%}"
        return f"the median's interval is {width}"


def sample(device: Device, workload: Workload) -> Timing:
    """Warm-up, then samples until the interval is narrow, the time is spent or there are enough."""
    settings = device.settings
    warm_up(device, workload)
    samples: list[float] = []
    void, look, start = 0, settings.min_samples, device.now_s()
    while True:
        seconds, lost = one(device, workload)
        void += lost
        samples.append(seconds)
        long = seconds > settings.long_s and len(samples) >= settings.long_samples
        if len(samples) < look and not long:
            continue
        interval = median_interval(samples)
        converged = interval.half_width <= settings.half_width
        spent = len(samples) >= settings.max_samples or device.now_s() - start >= settings.max_s
        if converged or spent:
            return Timing(samples, interval, converged, void)
        look = min(settings.max_samples, int(len(samples) * GROWTH) + 1)


def one(device: Device, workload: Workload) -> tuple[float, int]:
    """A valid sample and how many void ones came before it. Raises NoSamples."""
    for void in range(MAX_VOID):
        seconds = device.time_once(workload)
        if seconds is not None:
            return seconds, void
    raise NoSamples(f"{MAX_VOID} samples in a row were void: the host could not enqueue a launch while the device was held")


def warm_up(device: Device, workload: Workload) -> None:
    """At least one call, then calls for `warmup_s`."""
    start = device.now_s()
    while True:
        device.time_once(workload)
        if device.now_s() - start >= device.settings.warmup_s:
            return
