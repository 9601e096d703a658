"""What becomes of a point: every way it can end that does not need a GPU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from benches.correctness import Verdict
from benches.devices.base import Settings, TooLittleMemory
from benches.devices.simulated import SimulatedDevice
from benches.timing.measure import measure
from kernels.op import Language, Point
from kernels.registry import OPS
from kernels.support import Platform

POINT = OPS["matmul"].point("torch", "bf16", {"m": 127, "n": 129, "k": 131})
SQUARE = OPS["matmul"].point("torch", "bf16", {"m": 4096, "n": 4096, "k": 4096})


@dataclass
class Fake(SimulatedDevice):
    """A simulated device whose workload misbehaves as told."""

    verdicts: tuple[Verdict, ...] = ()
    raises: Exception | None = None
    interpreted: bool = False
    speed: float = 1.0  # over what the model predicts

    def __post_init__(self) -> None:
        SimulatedDevice.__init__(self)

    def platform(self, language: Language) -> Platform:
        return replace(super().platform(language), interpreted=self.interpreted)

    def load(self, point: Point, seed: int) -> Any:
        if self.raises:
            raise self.raises
        workload = super().load(point, seed)
        workload.cold_s /= self.speed
        workload.hot_s /= self.speed
        verdicts = iter(self.verdicts)
        workload.verify = lambda: next(verdicts, Verdict(0.5))  # type: ignore[method-assign]
        return workload


def test_a_timed_point() -> None:
    row = measure(POINT, Fake(), seed=1)
    assert (row.status, row.reason) == ("ok", None)
    assert row.median_s is not None
    assert row.ci_low_s is not None
    assert row.ci_high_s is not None
    assert row.ci_low_s <= row.median_s <= row.ci_high_s
    assert len(row.samples_s) >= 30
    assert (row.timer, row.cache, row.regime) == ("virtual time (simulated)", "cold", "sustained")
    assert row.error_over_tolerance == 0.5
    assert (row.mode, row.launches, row.sets, row.dropped) == ("graph", 1577, 1577, {})
    assert row.floor_s is not None
    assert 0 < row.floor_s < row.median_s
    assert row.launch_bound is True, "the simulated host takes 6 us a launch"
    assert row.conditions.sm_clock_hz == pytest.approx(1.83e9, rel=0.01)


@pytest.mark.parametrize(
    ("device", "point", "status", "reason"),
    [
        (Fake(verdicts=(Verdict(7.0, "3 of 9 elements are off"),)), POINT, "wrong", "3 of 9 elements are off"),
        (
            Fake(verdicts=(Verdict(0.5), Verdict(7.0, "3 of 9 elements are off"))),
            POINT,
            "wrong",
            "correct before timing, wrong after it: 3 of 9 elements are off",
        ),
        (Fake(speed=100.0), SQUARE, "impossible", "median "),
        (Fake(raises=TooLittleMemory("tried to allocate 90 GB")), POINT, "oom", "tried to allocate 90 GB"),
        (Fake(raises=RuntimeError("no kernel image\nlong trace")), POINT, "error", "RuntimeError: no kernel image (test_measure.py:"),
        (Fake(interpreted=True), POINT, "verified", "correct at 127x129x131 in Triton's interpreter; there is no GPU to time it on"),
        (
            Fake(),
            OPS["matmul"].point("torch", "fp8_e4m3", {"m": 16, "n": 17, "k": 16}, {"layout": "nt"}),
            "unsupported",
            "torch._scaled_mm needs n and k to be multiples of 16",
        ),
        (Fake(), OPS["matmul"].point("torch", "fp32", {"m": 10**6, "n": 10**6, "k": 10**5}), "skipped", "one call would take about"),
        (Fake(), OPS["matmul"].point("torch", "bf16", {"m": 300_000, "n": 300_000, "k": 16}), "oom", "needs 180.0 GB"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_untimed_ends(device: Fake, point: Point, status: str, reason: str) -> None:
    row = measure(point, device, seed=1)
    assert row.status == status
    assert str(row.reason).startswith(reason)
    assert row.median_s is None
    assert row.samples_s == []
    assert row.flops == OPS[point.op].cost(point, "cuda").flops


def test_what_does_not_converge_is_noisy() -> None:
    device = Fake()
    device.settings = Settings(warmup_s=0.0, warmup_max_s=0.1, half_width=1e-9, max_s=1.0)
    row = measure(POINT, device, seed=1)
    assert row.status == "noisy"
    assert "the median's interval is ±" in str(row.reason)
    assert row.median_s is not None


def test_checking_only_does_not_time() -> None:
    row = measure(POINT, Fake(), seed=1, timing=False)
    assert (row.status, row.median_s) == ("verified", None)


def test_ctrl_c_is_not_a_status() -> None:
    with pytest.raises(KeyboardInterrupt):
        measure(POINT, Fake(raises=KeyboardInterrupt()), seed=1)  # type: ignore[arg-type]
