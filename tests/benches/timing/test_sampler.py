"""When sampling stops, what is dropped and why, and that no sample is lost or dropped by its value. The device is a list of times."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, cycle, pairwise, repeat
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from benches.devices.base import Method, Reading, Sample, Settings
from benches.row import Conditions
from benches.timing.blocks import NoSamples
from benches.timing.interval import Interval
from benches.timing.sampler import Estimate, Timing, doubt, estimate, sample
from kernels.op import Cost

QUICK = Settings(warmup_s=0.0, warmup_max_s=0.0, half_width=0.01, max_s=10.0, cache="hot")
ESTIMATES, WARMING = 5, 5  # samples before the first sample, of a call shorter than 10 ms


@dataclass
class Scripted:
    """Gives scripted times; None is a void sample. Its clock advances by what it gives; heat comes when `slows` says so."""

    times: Iterator[float | None]
    settings: Settings = QUICK
    cause: str = "thermal"
    spells: int = 0  # the cause's counter grows until the device has rested so often
    slowed_s: float = 0.0
    clock: float = 0.0
    l2_bytes: int | None = None
    given: list[float] = field(default_factory=list)  # every valid sample handed out
    void: int = 0
    rests: list[float] = field(default_factory=list)
    cost: Cost = field(default_factory=lambda: Cost(0, 1, 1, 2))
    rotatable: bool = True
    capturable: bool = True
    phases: tuple[()] = ()
    sets: int = 1
    touched: int = 1
    launches: int = 1

    def free_bytes(self) -> int | None:
        return None

    def prepare(self, workload: object, method: Method) -> Method:
        return method

    def take_samples(self, workload: object, method: Method, count: int = 1, watch: bool = False) -> list[Sample]:
        seconds = next(self.times)
        self.clock += seconds or 1e-3
        if seconds is None:
            self.void += 1
            return [Sample(1e-3, void="not enqueued in time")]
        self.given.append(seconds)
        return [Sample(seconds, enqueue_s=1e-5, reading=self.read() if watch else None)]

    def run_for(self, workload: object, method: Method, seconds: float, launch_s: float) -> int:
        self.clock += seconds
        return 10

    def floor_s(self, method: Method) -> float | None:
        return None

    def read(self) -> Reading:
        return Reading(sm_clock_hz=1.7e9)

    def counters(self, energy: bool = False) -> Reading:
        self.slowed_s += 0.01 * (len(self.rests) < self.spells)
        return Reading(slowed_s={self.cause: self.slowed_s} if self.spells else {}, energy_j=500 * self.clock if energy else None)

    def rest(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.clock += seconds

    def now_s(self) -> float:
        return self.clock


def measured(device: Scripted) -> Timing:
    return sample(device, device)  # type: ignore[arg-type]


def steady_start(rest: Iterator[float | None], first: float = 1e-3) -> Iterator[float | None]:
    """What is given before the first sample, then `rest`."""
    return chain(repeat(first, ESTIMATES + WARMING), rest)


def test_a_steady_kernel_stops_at_the_first_look() -> None:
    timing = measured(Scripted(repeat(1e-3)))
    assert (timing.status, timing.reason) == ("ok", None)
    assert len(timing.samples_s) == 30
    assert timing.interval.median == 1e-3
    assert timing.method == Method("wall")
    assert timing.launch_bound is False


@pytest.mark.parametrize(("call_s", "span_s"), [(20e-6, 0.3), (7e-3, 0.3), (20e-3, 0.3), (20e-6, 0.0), (1e-3, 1.1)])
def test_samples_span_the_seconds_that_are_asked_for(call_s: float, span_s: float) -> None:
    """Between the parts of a short call's samples are calls that are not timed."""
    device = Scripted(repeat(call_s), replace(QUICK, min_span_s=span_s))
    taken_at: list[float] = []
    take = device.take_samples

    def noted(*given: Any, **options: Any) -> list[Sample]:
        taken_at.append(device.now_s())
        return take(*given, **options)

    device.take_samples = noted  # type: ignore[method-assign]
    timing = measured(device)
    at = taken_at[-len(timing.samples_s) :]
    assert len(timing.samples_s) == 30
    assert at[-1] + call_s - at[0] >= span_s * 5 / 6
    assert max(b - a for a, b in pairwise(at)) <= max(call_s, span_s / 6)


def test_a_burst_of_other_work_reaches_few_of_a_short_call_s_samples() -> None:
    """Calls of 20 us are ten times as long for 45 ms, in which 30 samples in a row would lie."""
    device = Scripted(repeat(20e-6), replace(QUICK, min_span_s=0.3))
    device.times = (2e-4 if 0.05 < device.clock < 0.095 else 2e-5 for _ in repeat(0))
    assert measured(device).interval.median == 2e-5


def test_a_bimodal_kernel_is_noisy_and_says_so() -> None:
    bimodal = random.Random(7)
    timing = measured(Scripted(bimodal.choice([1e-3, 3e-3]) * bimodal.uniform(0.9, 1.1) for _ in repeat(0)))
    assert timing.status == "noisy"
    assert len(timing.samples_s) == 1000
    assert str(timing.reason).startswith("the median's interval is ±")
    assert str(timing.reason).endswith("after 1000 samples, wanted ±1.0%")


def test_thirds_that_disagree_are_said() -> None:
    """1000 samples that creep by 0.9%: the median's interval is ±0.5%, the thirds lie 0.6% apart."""
    samples = [1e-3 * (1 + 9e-6 * i) for i in range(1000)]
    interval = Interval(median(samples), samples[470], samples[530])
    assert (
        doubt(samples, interval, Settings(), long=False)
        == "the last third of 1000 samples differs by +0.6% from the first, wanted within 0.5%"
    )


def test_a_lasting_drift_is_noisy() -> None:
    device = Scripted(steady_start(1e-3 * (1 + i * 4e-4) for i in range(10**5)), replace(QUICK, half_width=0.005))
    assert measured(device).status == "noisy"


def test_few_independent_samples_are_not_trusted() -> None:
    """Ten of one value, ten of another within half a percent: the interval is narrow, but its own correlation is not known."""
    blocks = cycle([1e-3] * 25 + [1.002e-3] * 25)
    timing = measured(Scripted(steady_start(blocks)))
    assert len(timing.samples_s) > 100


def test_an_outlier_stays_in_the_samples() -> None:
    timing = measured(Scripted(cycle([1e-3] * 14 + [0.05])))
    assert 0.05 in timing.samples_s
    assert timing.interval.median == 1e-3
    assert timing.dropped == {}


def test_long_calls_need_only_eight() -> None:
    timing = measured(Scripted(repeat(2.0)))
    assert timing.status == "ok"
    assert len(timing.samples_s) == 8


def test_the_time_limit_ends_sampling() -> None:
    device = Scripted(cycle([0.05, 0.09]))
    timing = measured(device)
    assert timing.status == "noisy"
    assert len(timing.samples_s) < 300
    assert device.clock >= device.settings.max_s


def test_void_samples_are_counted_by_cause_and_not_kept() -> None:
    timing = measured(Scripted(cycle([None, 1e-3])))
    assert timing.samples_s == [1e-3] * 30
    assert timing.dropped["not enqueued in time"] in (29, 30)


def test_only_void_samples_is_an_error() -> None:
    with pytest.raises(NoSamples, match=r"50 samples in a row were void \(not enqueued in time\)"):
        measured(Scripted(steady_start(repeat(None))))


def test_a_first_estimate_holds_three_valid_samples() -> None:
    """Two are void: what was loaded at the first launch says nothing of the third."""
    device = Scripted(chain([None, 0.05, None, 0.01, 0.01], repeat(0.01)))
    assert estimate(device, device) == Estimate(0.01, 1e-5)  # type: ignore[arg-type]


def test_warm_up_is_not_sampled() -> None:
    device = Scripted(chain(repeat(1.2e-3, ESTIMATES + WARMING), repeat(1e-3, 30)))
    assert measured(device).samples_s == [1e-3] * 30


def test_what_never_becomes_steady_is_noisy() -> None:
    """1% more with every warm-up chunk of 55 ms, for longer than the warm-up may last; then still."""
    device = Scripted((1e-3 * (1 + min(i, 275) // 5 * 0.01) for i in range(10**5)), Settings(cache="hot"))
    timing = measured(device)
    assert timing.status == "noisy"
    assert re.fullmatch(r"not steady after 3\.0 s of warm-up: still moving by 2\.\d%", str(timing.reason))


def test_noise_is_not_mistaken_for_movement() -> None:
    rng = random.Random(3)
    device = Scripted((rng.gauss(1e-3, 3e-5) for _ in repeat(0)), replace(QUICK, warmup_s=0.5, warmup_max_s=3.0, half_width=0.005))
    timing = measured(device)
    assert (timing.status, timing.reason) == ("ok", None)
    assert timing.warmup_s < 2.0


@pytest.mark.parametrize(
    ("cause", "spells", "status", "rests"),
    [
        ("thermal", 1, "ok", [0.25]),
        ("power brake", 3, "ok", [0.25, 1.0, 4.0]),
        ("thermal", 99, "throttled", [0.25, 1.0, 4.0]),
        ("power cap", 99, "ok", []),
    ],
)
def test_slowed_blocks_are_dropped_and_the_device_cooled_three_times(cause: str, spells: int, status: str, rests: list[float]) -> None:
    device = Scripted(repeat(1e-3), cause=cause, spells=spells)
    timing = measured(device)
    assert timing.status == status
    assert device.rests == rests
    assert timing.dropped == ({cause: 30 * len(rests)} if rests else {})
    assert len(timing.samples_s) == 30
    if status == "throttled":
        assert timing.reason == "slowed by thermal after cooling 3 times"
    assert timing.conditions == Conditions(sm_clock_hz=1.7e9, throttle_reasons=[cause] if spells == 99 else [])


@pytest.mark.slow
@given(
    st.lists(st.one_of(st.none(), st.floats(0.02, 0.04)), min_size=1, max_size=50).filter(any),
    st.integers(0, 5),
    st.sampled_from(["thermal", "power cap"]),
)
@hypothesis_settings(max_examples=60)
def test_every_sample_is_kept_in_order_or_counted(script: list[float | None], spells: int, cause: str) -> None:
    """Calls of 20 ms and more: what precedes the first untimed launches is the estimate, and one sample after each stretch of them is the
    warm-up."""
    times = chain([0.03] * 3, chain.from_iterable(repeat(script)))
    device = Scripted(times, replace(QUICK, max_samples=200), cause=cause, spells=spells)
    samples: list[Sample] = []
    estimating, warming = [True], [False]
    take, run_for = device.take_samples, device.run_for

    def noted_take(*arguments: Any, **options: Any) -> list[Sample]:
        taken = take(*arguments, **options)
        if not (estimating[0] or warming[0]):
            samples.extend(taken)
        warming[0] = False
        return taken

    def noted_run_for(*arguments: Any) -> int:
        estimating[0], warming[0] = False, True
        return run_for(*arguments)

    device.take_samples, device.run_for = noted_take, noted_run_for  # type: ignore[method-assign]
    timing = measured(device)
    valid = [sample.seconds for sample in samples if sample.void is None]
    assert len(timing.samples_s) + sum(timing.dropped.values()) == len(samples)
    assert timing.dropped.get("not enqueued in time", 0) == len(samples) - len(valid)
    remaining = iter(valid)
    assert all(x in remaining for x in timing.samples_s), "in time order, none invented"
    if spells == 0:
        assert timing.samples_s == valid


def test_boost_rests_before_every_burst_and_does_not_warm_up() -> None:
    device = Scripted(repeat(1e-2), replace(QUICK, regime="boost"))
    timing = measured(device)
    assert (timing.status, timing.warmup_s) == ("ok", 0.0)
    assert set(device.rests) == {0.5}
    assert len(device.rests) == 6, "thirty samples of 10 ms in bursts that end after 50 ms"


def test_energy_is_of_one_call() -> None:
    device = Scripted(repeat(1e-3), replace(QUICK, energy=True))
    # Each run_for lasts 0.75 s and holds 10 calls, at 500 W: 37.5 J a call.
    assert measured(device).conditions.energy_j == pytest.approx(37.5)


def test_untouched_sets_are_an_error() -> None:
    device: Any = Scripted(repeat(1e-3), sets=27, touched=10, launches=500)
    with pytest.raises(RuntimeError, match="500 launches touched only 10 of 27 sets: the cache was not cold"):
        measured(device)
