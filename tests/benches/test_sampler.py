"""When sampling stops, and that nothing is dropped by its value. The device is a list of times."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle, repeat

import pytest

from benches.devices.base import Settings
from benches.sampler import NoSamples, sample


@dataclass
class Scripted:
    """Gives scripted times; None is a void sample. Its clock advances by what it gives."""

    times: Iterator[float | None]
    settings: Settings = field(default_factory=lambda: Settings(warmup_s=0.0, half_width=0.01, max_s=10.0))
    clock: float = 0.0
    calls: int = 0

    def time_once(self, workload: object) -> float | None:
        self.calls += 1
        seconds = next(self.times)
        self.clock += seconds or 1e-3
        return seconds

    def now_s(self) -> float:
        return self.clock


def test_a_steady_kernel_stops_at_the_first_look() -> None:
    timing = sample(Scripted(repeat(1e-3)), None)  # type: ignore[arg-type]
    assert timing.converged
    assert len(timing.samples_s) == 30
    assert timing.interval.median == 1e-3


def test_a_restless_kernel_is_not_converged_and_says_so() -> None:
    bimodal = random.Random(7)
    device = Scripted(bimodal.choice([1e-3, 3e-3]) * bimodal.uniform(0.9, 1.1) for _ in repeat(0))
    timing = sample(device, None)  # type: ignore[arg-type]
    assert not timing.converged
    assert len(timing.samples_s) == device.settings.max_samples
    assert re.fullmatch(r"the median's interval is ±\d\d\.\d% after 1000 samples, wanted ±1\.0%", str(timing.reason(device.settings)))


def test_an_outlier_stays_in_the_samples() -> None:
    timing = sample(Scripted(cycle([1e-3] * 14 + [0.05])), None)  # type: ignore[arg-type]
    assert 0.05 in timing.samples_s
    assert timing.interval.median == 1e-3


def test_long_calls_need_only_eight() -> None:
    timing = sample(Scripted(repeat(2.0)), None)  # type: ignore[arg-type]
    assert timing.converged
    assert len(timing.samples_s) == 8


def test_the_time_limit_ends_sampling() -> None:
    times = cycle([0.05, 0.09])
    device = Scripted(times)
    timing = sample(device, None)  # type: ignore[arg-type]
    assert not timing.converged
    assert len(timing.samples_s) < 300
    assert device.clock >= device.settings.max_s


def test_void_samples_are_counted_not_kept() -> None:
    timing = sample(Scripted(cycle([None, 1e-3])), None)  # type: ignore[arg-type]
    assert timing.samples_s == [1e-3] * 30
    assert timing.void in (29, 30)


def test_only_void_samples_is_an_error() -> None:
    with pytest.raises(NoSamples, match="50 samples in a row were void"):
        sample(Scripted(repeat(None)), None)  # type: ignore[arg-type]


def test_warm_up_is_not_sampled() -> None:
    device = Scripted(iter([*repeat(0.1, 5), *repeat(1e-3, 30)]), Settings(warmup_s=0.45, half_width=0.01, max_s=10.0))
    assert sample(device, None).samples_s == [1e-3] * 30  # type: ignore[arg-type]
