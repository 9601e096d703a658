"""The CPU: wall time by perf_counter_ns, a fixed number of threads, caches as the kernel left them."""

from __future__ import annotations

import math
import platform as host_platform
from collections.abc import Callable
from time import perf_counter, perf_counter_ns, sleep  # before other people's code is imported, which could replace them
from typing import Any, Literal

import psutil
import torch

from benches.devices.allocations import allocated, held_by_tensors
from benches.devices.base import Method, Reading, Sample, Settings
from benches.devices.busy import Counters, OtherWork, count, disturbed, held_up
from benches.devices.ceilings import measure_ceilings
from benches.devices.cores import thread_count
from benches.devices.heap import keep_freed_memory, return_freed_memory
from benches.devices.tensors import TensorWorkload
from benches.devices.toolchain import missing_for_cpu
from kernels.cost_model import predict
from kernels.cpu_model import cpu_model_for
from kernels.gpus import Ceilings, Gpu
from kernels.op import Language, Point
from kernels.registry import OPS, impl_of
from kernels.support import Platform


class CpuDevice:
    """Triton has no CPU target: its points are checked in the interpreter at a small shape, and never timed."""

    kind: Literal["cpu"] = "cpu"
    timer = "perf_counter_ns"
    gpu: Gpu | None = None
    l2_bytes: int | None = None

    def __init__(self, ceilings: Ceilings | None = None) -> None:
        """`ceilings`: measured earlier in this run; None measures them now. Raises ThreadsError."""
        self.threads = thread_count()
        torch.set_num_threads(self.threads)
        self.keeps_freed_memory = keep_freed_memory()
        # A shared CPU cannot give the ±0.5% that a GPU is held to; ±5% and a second a point tell a slow kernel from a fast one.
        # Bursts of other work last some tens of milliseconds, in which all samples of a short call would fall.
        self.settings = Settings(warmup_s=0.1, warmup_max_s=0.3, half_width=0.05, max_s=1.0, min_span_s=0.3, max_call_s=2.0, cache="hot")
        fitted = cpu_model_for(cpu_model(), torch.get_num_threads())
        self.ceilings = (ceilings or measure_ceilings()).model_copy(update={"cpu_model": fitted})
        self._others = OtherWork()
        self._counted: list[Counters] = []  # before the first and after the last block of samples

    def platform(self, language: Language) -> Platform:
        if language == "triton":
            return Platform("cpu", interpreted=True)  # which compiles nothing
        missing = missing_for_cpu()
        return Platform("cpu", no_compiler=missing.reason if missing else None)

    def load(self, point: Point, seed: int) -> TensorWorkload:
        return_freed_memory()
        impl = impl_of(point)
        if self.platform(impl.language).interpreted:
            from kernels.interpreter_fixes import fix_interpreter  # imports Triton, which only a run's device may choose the way of

            fix_interpreter()
            return TensorWorkload(point, OPS[point.op].shrink(point), "cpu", seed)
        workload, held = allocated(lambda: TensorWorkload(point, point, "cpu", seed))
        if impl.compiled:
            workload.launch()  # compiling allocates and releases as well
            _, launch = allocated(workload.launch)
        else:
            (_, tensors), launch = allocated(lambda: held_by_tensors(workload.launch))
            workload.scratch_bytes = max(0, launch.peak_bytes - tensors.peak_bytes)
        workload.peak_memory_bytes = held.net_bytes + launch.peak_bytes  # making the operands took more than holding them
        return workload

    def predict_s(self, point: Point) -> float | None:
        """By constants fitted to this CPU, else by the measured ceilings; TF32 has none."""
        seconds = float(predict([point], self.ceilings, "hot").predicted_s[0])
        return None if math.isnan(seconds) else seconds

    def free_bytes(self) -> int | None:
        return None

    def prepare(self, workload: TensorWorkload, method: Method) -> Method:
        workload.rotate(method.sets)
        self._others, self._counted = OtherWork(), []
        return method

    def disturbance(self) -> str | None:
        waited = held_up(*self._counted) if len(self._counted) == 2 else None
        return waited or disturbed(self._others.cores(), self.threads, psutil.cpu_count() or 1)

    def take_samples(self, workload: TensorWorkload, method: Method, count: int = 1, watch: bool = False) -> list[Sample]:
        return [Sample(wall_s(workload.launch, method.launches), reading=self.read() if watch else None)]

    def phase(self, call: Callable[[], Any]) -> float:
        return wall_s(call, 1)

    def run_for(self, workload: TensorWorkload, method: Method, seconds: float, launch_s: float) -> int:
        calls, start = 0, perf_counter()
        while calls == 0 or perf_counter() - start < seconds:
            workload.launch()
            calls += 1
        return calls

    def floor_s(self, method: Method) -> float | None:
        """A kernel's call is part of what a CPU does."""
        return None

    def read(self) -> Reading:
        return Reading()

    def counters(self, energy: bool = False) -> Reading:
        """Returns an empty reading, and notes the system's counters: called before and after samples are taken."""
        if not energy:
            self._counted[1:] = [count()]
        return Reading()

    def rest(self, seconds: float) -> None:
        sleep(seconds)

    def now_s(self) -> float:
        return perf_counter()

    def describe(self) -> dict[str, Any]:
        model = cpu_model()
        return {
            "device_kind": self.kind,
            "device_name": model,
            "device_uuid": None,
            "driver": None,
            "gpu": None,
            "ceilings": self.ceilings.model_dump(include={"peak_flops_per_s", "bandwidth_bytes_per_s", "caches", "call_s", "step_call_s"}),
            "cpu": {
                "model": model,
                "cores": psutil.cpu_count(logical=False) or 1,
                "threads": torch.get_num_threads(),
                "keeps_freed_memory": self.keeps_freed_memory,
            },
        }


def wall_s(call: Callable[[], Any], times: int) -> float:
    """Seconds a call by the host's clock, of `times` calls one after the other."""
    start = perf_counter_ns()
    for _ in range(times):
        call()
    return (perf_counter_ns() - start) / 1e9 / times


def cpu_model() -> str:
    """The model name that Linux tells, else what Python knows."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return host_platform.processor() or host_platform.machine()
