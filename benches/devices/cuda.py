"""A CUDA device: event pairs behind a launch gate, over a cache that has just been filled with something else."""

from __future__ import annotations

import time
from typing import Any, Literal

import torch

from benches.devices.base import Settings
from benches.devices.nvml import Board
from benches.devices.tensors import TensorWorkload
from benches.row import Conditions
from kernels.cost_model import predict
from kernels.gpus import Gpu, gpu_for_board
from kernels.op import Platform, Point

FLUSH_MIN_BYTES = 128 * 2**20
HOLD_CYCLES = 400_000  # about 0.2 ms at 1.9 GHz: longer than the host needs to enqueue a flush, two events and a launch
HOLD_CYCLES_MAX = 200_000_000  # about 0.1 s; the gate is finite, so that it cannot deadlock


class CudaDevice:
    kind: Literal["cuda"] = "cuda"
    timer = "cuda events"
    cache: Literal["cold"] = "cold"
    regime = "sustained"

    def __init__(self, index: int = 0):
        torch.cuda.set_device(index)
        self._properties = torch.cuda.get_device_properties(index)
        self._board = Board(f"GPU-{self._properties.uuid}")
        self.gpu: Gpu | None = gpu_for_board(self._board.name() or self._properties.name)
        self.settings = Settings(warmup_s=0.5, half_width=0.005, max_s=5.0)
        l2_bytes = self._properties.L2_cache_size
        self._flush = torch.zeros(max(2 * l2_bytes, FLUSH_MIN_BYTES) // 4, device="cuda", dtype=torch.float32)
        self._flushed = torch.zeros((), device="cuda")
        self._hold_cycles = HOLD_CYCLES

    def platform(self, impl: str) -> Platform:
        return Platform("cuda", (self._properties.major, self._properties.minor))

    def prepare(self, point: Point, seed: int) -> TensorWorkload:
        torch.cuda.empty_cache()  # the point before may have left blocks that this one cannot use
        before = torch.cuda.memory_allocated()
        workload = TensorWorkload(point, point, "cuda", seed)
        torch.cuda.reset_peak_memory_stats()  # making the operands took more than holding them
        workload.launch()
        torch.cuda.synchronize()
        workload.peak_memory_bytes = torch.cuda.max_memory_allocated() - before
        return workload

    def predict_s(self, point: Point) -> float | None:
        return float(predict([point], self.gpu).predicted_s[0]) if self.gpu else None

    def time_once(self, workload: TensorWorkload) -> float | None:
        """A sample is void if the gate opened before everything was enqueued: then the host's time would be in it."""
        opened, start, end = (torch.cuda.Event(enable_timing=True) for _ in range(3))
        torch.cuda._sleep(self._hold_cycles)
        opened.record()
        torch.sum(self._flush, dim=0, out=self._flushed)  # a read leaves no dirty lines for the kernel to write back
        start.record()
        workload.launch()
        end.record()
        held = not opened.query()
        end.synchronize()
        if not held:
            self._hold_cycles = min(2 * self._hold_cycles, HOLD_CYCLES_MAX)
            return None
        return start.elapsed_time(end) / 1e3

    def now_s(self) -> float:
        return time.perf_counter()

    def conditions(self) -> Conditions:
        return self._board.conditions()

    def describe(self) -> dict[str, Any]:
        return {
            "device_kind": self.kind,
            "device_name": self._properties.name,
            "device_uuid": f"GPU-{self._properties.uuid}",
            "driver": self._board.driver(),
            "gpu": self.gpu.name if self.gpu else None,
            "ceilings": None,
        }
