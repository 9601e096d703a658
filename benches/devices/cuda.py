"""A CUDA device: PyTorch's current stream, events, graphs and allocator behind the timing of `streamed`."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter, sleep
from typing import Any, Literal

import torch

from benches.devices.base import Method, Settings
from benches.devices.notes import notes
from benches.devices.nvml import Board
from benches.devices.streamed import CaptureFailed, Streamed, flush_bytes
from benches.devices.tensors import TensorWorkload, is_out_of_memory, memory_errors
from benches.devices.toolchain import missing_for_cuda
from kernels.cost_model import predict
from kernels.gpus import Gpu, gpu_for_board, with_board_l2
from kernels.op import Language, Point
from kernels.support import Platform

# Before other people's code is imported, which could replace them.
Event, CUDAGraph, graph_of, spin = torch.cuda.Event, torch.cuda.CUDAGraph, torch.cuda.graph, torch.cuda._sleep
synchronize, current_stream, set_stream = torch.cuda.synchronize, torch.cuda.current_stream, torch.cuda.set_stream

SPIN_HZ = 2e9  # cycles a second that `torch.cuda._sleep` is taken to spin at: no H100 is faster, so a hold is never shorter than asked


class CudaEvent:
    """A timing event of CUDA; seconds, where PyTorch gives milliseconds."""

    def __init__(self) -> None:
        self._event = Event(enable_timing=True)
        self.record, self.query, self.synchronize = self._event.record, self._event.query, self._event.synchronize

    def seconds_to(self, end: CudaEvent) -> float:
        return self._event.elapsed_time(end._event) / 1e3


class CudaStream:
    """PyTorch's current stream."""

    def __init__(self, l2_bytes: int):
        self.l2_bytes = l2_bytes
        self._buffer = torch.zeros(flush_bytes(l2_bytes) // 4, device="cuda", dtype=torch.float32)
        self._sum = torch.zeros((), device="cuda")

    def free_bytes(self) -> int:
        """The driver's free memory, and what PyTorch's allocator holds without using it."""
        unused = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return torch.cuda.mem_get_info()[0] + unused

    def event(self) -> CudaEvent:
        return CudaEvent()

    def hold(self, seconds: float) -> None:
        spin(int(seconds * SPIN_HZ))

    def flush(self) -> None:
        torch.sum(self._buffer, dim=0, out=self._sum)  # a read leaves no dirty lines for the kernel to write back

    def null(self) -> None:
        spin(0)

    def capture(self, launch: Callable[[], Any], count: int) -> Callable[[], Any]:
        graph = CUDAGraph()
        before = current_stream()
        try:
            with graph_of(graph):
                for _ in range(count):
                    launch()
        except RuntimeError as e:
            set_stream(before)  # PyTorch's context manager leaves the capturing stream current where ending the capture fails
            if is_out_of_memory(e):
                raise
            raise CaptureFailed(str(e)) from e
        return graph.replay

    def synchronize(self) -> None:
        synchronize()

    def rest(self, seconds: float) -> None:
        synchronize()
        sleep(seconds)

    def now_s(self) -> float:
        return perf_counter()


def clear_workspaces() -> int | None:
    """Releases cuBLAS's workspaces, one a handle and stream, and returns their bytes: they are allocated at the first product and kept,
    32 MiB each on an H100. None where this PyTorch cannot."""
    clear = getattr(torch._C, "_cuda_clearCublasWorkspaces", None)
    if clear is None:
        return None
    before = torch.cuda.memory_allocated()
    clear()
    return before - torch.cuda.memory_allocated()


class CudaDevice(Streamed):
    """The current CUDA device. Raises RuntimeError where it cannot be opened."""

    kind: Literal["cuda"] = "cuda"
    timer = "cuda events"

    def __init__(self, index: int = 0):
        torch.cuda.set_device(index)
        self._properties = torch.cuda.get_device_properties(index)
        self._board = Board(f"GPU-{self._properties.uuid}")
        described = None if self._board.mig else gpu_for_board(self._board.name() or self._properties.name)
        l2_bytes = self._properties.L2_cache_size
        self.gpu: Gpu | None = with_board_l2(described, l2_bytes) if described else None
        counters = bool(self._board.counters().slowed_s)
        self._name = device_name(self._properties.name, self._board.mig)
        self.notes = notes(self._name, described, l2_bytes, self._board.mig, self._board.problem, counters)
        self.settings = Settings()
        super().__init__(CudaStream(l2_bytes), self._board)

    def platform(self, language: Language) -> Platform:
        missing = missing_for_cuda()
        return Platform("cuda", (self._properties.major, self._properties.minor), no_compiler=missing.reason if missing else None)

    def load(self, point: Point, seed: int) -> TensorWorkload:
        self.disarm()
        clear_workspaces()  # or the first point that needs one would be charged for it, and the next not
        torch.cuda.empty_cache()  # the point before may have left blocks that this one cannot use
        before = torch.cuda.memory_allocated()
        workload = TensorWorkload(point, point, "cuda", seed)
        with memory_errors():
            workload.launch()  # which compiles, tries configurations and allocates workspaces
            synchronize()
            workload.release_results()
            torch.cuda.reset_peak_memory_stats()  # nor does the making of the operands count
            workload.launch()
            synchronize()
        workload.peak_memory_bytes = torch.cuda.max_memory_allocated() - before
        workload.scratch_bytes = clear_workspaces()
        return workload

    def prepare(self, workload: TensorWorkload, method: Method) -> Method:
        with memory_errors():
            return super().prepare(workload, method)

    def predict_s(self, point: Point) -> float | None:
        if self.gpu is None:
            return None
        seconds = float(predict([point], self.gpu, self.settings.cache).predicted_s[0])
        return None if math.isnan(seconds) else seconds  # the data sheet has no peak for the precision

    def describe(self) -> dict[str, Any]:
        return {
            "device_kind": self.kind,
            "device_name": self._name,
            "device_uuid": f"GPU-{self._properties.uuid}",
            "driver": self._board.driver(),
            "vbios": self._board.vbios(),
            "cuda_runtime": torch.version.cuda,
            "cudnn": cudnn_version(),
            "clock_policy": self._board.clock_policy(),
            "power_source": self._board.power_source,
            "gpu": self.gpu.name if self.gpu else None,
            "l2_bytes": self.l2_bytes,
            "ceilings": None,
            "notes": self.notes,
        }


def device_name(name: str, mig: bool) -> str:
    """CUDA's name of the device; a slice is never called as its whole board is, whose peaks a report would then take."""
    return f"{name} MIG slice" if mig and "MIG" not in name else name


def cudnn_version() -> int | None:
    """cuDNN's version as its library writes it: 91900 is 9.19.0. None where torch has none, or refuses the one that it finds."""
    try:
        return torch.backends.cudnn.version()
    except RuntimeError:  # another cuDNN on LD_LIBRARY_PATH than torch was built for: products do not need it
        return None
