"""What sampling is expected to take, against the virtual time that the simulated device's runs take: within 30%."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from statistics import mean

import pytest

from benches.devices.base import Settings
from benches.devices.simulated import SimulatedDevice
from benches.plan import make_plan
from benches.sweep.load import load_sweep
from benches.timing.expected import expected_samples, sampling_s
from benches.timing.measure import measure
from benches.timing.sampler import sample
from kernels.gpus import load_gpu
from kernels.op import Cost

H100 = load_gpu("h100_sxm5")
WITHIN = 0.3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call_s", "bytes_"),
    [
        (1e-6, 0),  # a view, whose samples are the host's
        (2e-6, 4_000_003),
        (8e-6, 40_007),
        (30e-6, 100_000_003),
        (300e-6, 4_000_003),
        (1e-3, 2_000_000_011),
        (5e-3, 100_000_003),
        (20e-3, 2_000_000_011),
        (80e-3, 100_000_003),
        (0.5, 2_000_000_011),
        (1.5, 100_000_003),
    ],
)
def test_a_call_is_sampled_for_as_long_as_expected(call_s: float, bytes_: int) -> None:
    """In the mean of a few runs: how many samples one of them takes is chance."""
    cost = Cost(1, bytes_ // 2, bytes_ - bytes_ // 2, bytes_)
    taken = []
    for seed in range(8):
        device = SimulatedDevice(seed=seed)
        workload = device.workload(cost, call_s, 0.7 * call_s)
        begin = device.now_s()
        sample(device, workload)
        device.stream.synchronize()
        taken.append(device.now_s() - begin)
    assert sampling_s(call_s, cost, H100, Settings()) == pytest.approx(mean(taken), rel=WITHIN)


@pytest.mark.slow
@pytest.mark.parametrize(("sweep", "step"), [("smoke", 3), ("nightly", 11)])
def test_a_plan_expects_what_a_simulated_run_takes(sweep: str, step: int) -> None:
    """Evenly spaced points, by op and in all; a family of few points is left to the whole, since how many samples one takes is chance."""
    plan, device = make_plan(load_sweep(sweep), H100), SimulatedDevice()
    expected: dict[str, list[float]] = defaultdict(list)
    taken: dict[str, list[float]] = defaultdict(list)
    for i in range(0, len(plan.points), step):
        if plan.runs[i]:
            begin = device.now_s()
            assert measure(plan.points[i], device, seed=1).median_s is not None
            device.stream.synchronize()
            for family in ("all", plan.points[i].op):
                taken[family].append(device.now_s() - begin)
                expected[family].append(plan.sampling_s[i])
    large = [family for family, seconds in taken.items() if len(seconds) >= 5]
    assert "matmul" in large
    ratios = {family: sum(expected[family]) / sum(taken[family]) for family in large}
    assert {family: ratio for family, ratio in ratios.items() if abs(ratio - 1) > WITHIN} == {}


@pytest.mark.parametrize(
    ("changed", "count"),
    [
        ({}, 46),  # ±0.37% at 46 samples, ±0.66% at 30: 0.3% of noise that goes half with the sample before
        ({"half_width": 0.02}, 30),
        ({"half_width": 0.003}, 70),
        ({"half_width": 1e-6}, 1000),
        ({"min_samples": 8, "half_width": 0.02}, 8),
        ({"max_samples": 40, "half_width": 1e-6}, 40),
    ],
)
def test_looks_until_the_interval_is_narrow(changed: dict[str, float], count: int) -> None:
    assert expected_samples(replace(Settings(), **changed)) == count  # type: ignore[arg-type]


def test_long_calls_take_few_samples_and_sampling_has_a_limit() -> None:
    """Of one second: 8 samples, one in warm-up. Of 80 ms, in 1.2 s: 15 samples."""
    cost, settings = Cost(1, 10**9, 10**9, 2 * 10**9), Settings(warmup_s=0.0)
    before = sampling_s(1.0, cost, H100, replace(settings, long_samples=0))
    assert sampling_s(1.0, cost, H100, settings) - before == pytest.approx(8.0)
    limited, free = (sampling_s(0.08, cost, H100, replace(settings, max_s=seconds)) for seconds in (1.2, 100.0))
    assert free - limited == pytest.approx((46 - 15) * 0.08)
