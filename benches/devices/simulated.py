"""A device in virtual time that knows the truth: each kernel takes what the cost model predicts for an H100, with noise.

It runs the same path as a GPU from YAML to report on any machine, in seconds, and computes no numbers: its gate always passes. Its rows
say where they come from (`timer`), and so does environment.json.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from benches.devices.base import Settings, TooLittleMemory, Verdict
from benches.row import Conditions
from kernels.cost_model import predict
from kernels.gpus import load_gpu
from kernels.op import Platform, Point
from kernels.registry import OPS

GPU = "h100_sxm5"
NOISE = 0.003  # standard deviation of a sample, relative
CORRELATION = 0.5  # of a sample with the one before: a real device's clock and neighbours change slower than one launch
HOST_S = 20e-6  # virtual host seconds to enqueue one sample
SEED = 1


class SimulatedWorkload:
    """A point's true time; no tensors."""

    config: str | None = None
    peak_memory_bytes: int | None = None

    def __init__(self, true_s: float, device: SimulatedDevice):
        self.true_s = true_s
        self._device = device

    def check(self) -> Verdict:
        return Verdict(0.0)

    def launch(self) -> None:
        self._device.run_for(self.true_s)


class SimulatedDevice:
    kind: Literal["simulated"] = "simulated"
    timer = "virtual time (simulated)"
    cache: Literal["cold"] = "cold"
    regime = "sustained"

    def __init__(self) -> None:
        self.gpu = load_gpu(GPU)
        self.settings = Settings(warmup_s=0.5, half_width=0.005, max_s=5.0)
        self._random = np.random.default_rng(SEED)
        self._noise = 0.0
        self._clock_s = 0.0

    def platform(self, impl: str) -> Platform:
        return Platform("cuda", self.gpu.compute_capability)

    def prepare(self, point: Point, seed: int) -> SimulatedWorkload:
        needed = OPS[point.op].cost(point).memory_bytes
        if needed > self.gpu.memory_bytes:
            raise TooLittleMemory(f"needs {needed / 1e9:.1f} GB, the simulated {self.gpu.name} has {self.gpu.memory_bytes / 1e9:.0f} GB")
        return SimulatedWorkload(self._true_s(point), self)

    def predict_s(self, point: Point) -> float | None:
        return self._true_s(point)

    def _true_s(self, point: Point) -> float:
        return float(predict([point], self.gpu).predicted_s[0])

    def run_for(self, true_s: float) -> None:
        """Lets virtual time pass: AR(1) noise around the true time."""
        innovation = self._random.normal(0.0, NOISE * (1 - CORRELATION**2) ** 0.5)
        self._noise = CORRELATION * self._noise + innovation
        self._clock_s += true_s * (1 + self._noise)

    def time_once(self, workload: SimulatedWorkload) -> float | None:
        self._clock_s += HOST_S
        start = self._clock_s
        workload.launch()
        return self._clock_s - start

    def now_s(self) -> float:
        return self._clock_s

    def conditions(self) -> Conditions:
        return Conditions(sm_clock_hz=self.gpu.boost_clock_hz)

    def describe(self) -> dict[str, Any]:
        return {
            "device_kind": self.kind,
            "device_name": f"simulated {self.gpu.boards[0]}",
            "device_uuid": None,
            "driver": None,
            "gpu": self.gpu.name,
            "ceilings": None,
        }
