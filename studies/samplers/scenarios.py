"""What the samplers are set before: a kernel of known time on a simulated GPU that behaves as said."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from benches.devices.base import Method
from benches.devices.simulated import SimulatedDevice, SimulatedWorkload
from benches.devices.virtual import Behaviour, Slowdown
from benches.row import Cache
from kernels.op import Cost

US, MS = 1e-6, 1e-3
HOT_OVER_COLD = 0.7
BANDWIDTH_SHARE = 0.5  # of the H100's, that a kernel's traffic takes in its time, up to TRAFFIC_MAX
TRAFFIC_MAX = 2**30
USUAL = Behaviour(noise=0.004)
AGED_S = 0.2  # the device has worked a little before, as between two points of a sweep


@dataclass(frozen=True)
class Scenario:
    """A kernel's time when cold (hot it takes 0.7 of it), what the device does, and what a sampler ought to say."""

    name: str
    seconds: float
    behaviour: Behaviour = USUAL
    cache: Cache = "cold"
    expected: str = "ok"
    has_truth: bool = True
    rho: float | None = None  # where coverage is asked for

    @property
    def truth_s(self) -> float:
        if not self.has_truth:
            return math.nan
        return self.seconds * (HOT_OVER_COLD if self.cache == "hot" else 1.0)

    def make(self, seed: int) -> tuple[SimulatedDevice, SimulatedWorkload]:
        device = SimulatedDevice(self.behaviour, seed)
        device.settings = replace(device.settings, cache=self.cache)
        bytes_ = min(TRAFFIC_MAX, int(self.seconds * 3.35e12 * BANDWIDTH_SHARE))
        workload = device.workload(Cost(0, bytes_ * 2 // 3, bytes_ // 3, bytes_), self.seconds, self.seconds * HOT_OVER_COLD)
        events = Method("events")
        device.run_for(workload, device.prepare(workload, events), AGED_S, self.seconds)
        return device, workload


def scenarios() -> list[Scenario]:
    times = {"2 us": 2 * US, "8 us": 8 * US, "30 us": 30 * US, "300 us": 300 * US, "5 ms": 5 * MS, "80 ms": 80 * MS, "500 ms": 0.5}
    usual = [USUAL] * 6 + [replace(USUAL, noise=0.0015, rho=0.0)]  # half a second averages much, and remembers little
    found = [Scenario(name, seconds, behaviour) for (name, seconds), behaviour in zip(times.items(), usual, strict=True)]
    found += [Scenario(f"{name} hot", times[name], cache="hot") for name in ("2 us", "30 us")]
    for rho in (0.0, 0.5, 0.9):
        for name in ("8 us", "30 us", "5 ms"):
            noisier = Behaviour(noise=0.008, rho=rho)
            found.append(Scenario(f"{name}, noise 0.8%, rho {rho:g}", times[name], noisier, rho=rho))
    ms = 1 * MS
    spell, later = (Slowdown(start, start + 0.4, 1.3) for start in (0.79, 0.95))
    return [
        *found,
        Scenario("1 ms, 5% outliers x2", ms, replace(USUAL, outlier_rate=0.05)),
        Scenario("30 us, 5% outliers x2", 30 * US, replace(USUAL, outlier_rate=0.05)),
        Scenario("30 us, host 300 us a launch", 30 * US, replace(USUAL, host_launch_s=300 * US)),
        Scenario("8 us hot, host 50 us a launch", 8 * US, replace(USUAL, host_launch_s=50 * US), cache="hot"),
        Scenario("30 us, host stalls 1 ms in 2%", 30 * US, replace(USUAL, host_stall_rate=0.02)),
        Scenario("1 ms, thermal spell of 0.4 s", ms, replace(USUAL, slowdowns=(spell,))),
        Scenario("5 ms, thermal spell of 0.4 s", 5 * MS, replace(USUAL, slowdowns=(later,))),
        Scenario("1 ms, throttled from 0.5 s on", ms, replace(USUAL, slowdowns=(Slowdown(0.5, math.inf, 1.3),)), expected="throttled"),
        Scenario("5 ms, overheating", 5 * MS, replace(USUAL, busy_c=110.0, heat_s=0.3), expected="throttled"),
        Scenario("1 ms, drift 10%/s", ms, replace(USUAL, drift_per_s=0.1), expected="noisy", has_truth=False),
        Scenario("30 us, drift 10%/s", 30 * US, replace(USUAL, drift_per_s=0.1), expected="noisy", has_truth=False),
        Scenario("80 ms, drift 10%/s", 80 * MS, replace(USUAL, drift_per_s=0.1), expected="noisy", has_truth=False),
        Scenario("1 ms, two modes 3% apart", ms, replace(USUAL, second_mode=0.03), expected="noisy", has_truth=False),
        Scenario("30 us, two modes 10% apart", 30 * US, replace(USUAL, second_mode=0.1), expected="noisy", has_truth=False),
    ]
