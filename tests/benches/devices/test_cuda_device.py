"""The CUDA device's logic over a scripted `torch.cuda`: what it enqueues and in which order, and when a sample is void.

Whether the hold really holds and the flush really evicts, only a GPU can show: `python -m benches first-contact`, docs/validation.
That every name of `torch.cuda` and `pynvml` which the device uses exists is checked here against the installed versions.
"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pynvml
import pytest
import torch

from benches.devices import cuda, nvml
from benches.devices.base import Method, TooLittleMemory
from benches.devices.cuda import SPIN_HZ, CudaDevice, CudaStream
from benches.devices.streamed import HOLD_S, NOT_HELD
from kernels.gpus import gpu_for_board
from kernels.guard import ROOT
from kernels.registry import OPS
from kernels.support import Platform

EVENTS, COLD = Method("events"), Method("events", flush=True)
HOLD = int(HOLD_S * SPIN_HZ)


class Script:
    """Stands for torch.cuda: logs what is enqueued; the device has reached the first `early` samples before they are enqueued."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.early = 0
        self.capturing = False
        self.stream = "usual"

    def event(self, enable_timing: bool) -> Any:
        assert enable_timing

        def query() -> bool:
            self.early -= 1
            return self.early >= 0

        return SimpleNamespace(
            record=lambda: self.log.append("record"),
            synchronize=lambda: self.log.append("wait"),
            query=query,
            elapsed_time=lambda end: 0.25,
        )

    def spin(self, cycles: int) -> None:
        self.log.append(f"spin {cycles}")

    @contextmanager
    def graph(self, graph: Any) -> Iterator[None]:
        """As PyTorch's: where ending the capture raises, the stream that it captured on stays the current one."""
        self.capturing, self.stream = True, "capturing"
        try:
            yield
        except BaseException:
            self.capturing = False
            raise
        self.capturing, self.stream = False, "usual"


class Work:
    """A workload that logs its launches; the third set's launch cannot be captured where `stubborn`."""

    def __init__(self, script: Script, stubborn: bool = False):
        self.script, self.stubborn, self.count, self.sets = script, stubborn, 0, 1

    def rotate(self, sets: int) -> None:
        self.count, self.sets = 0, sets

    def launch(self) -> None:
        if self.stubborn and self.script.capturing:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.script.log.append(f"{'capture' if self.script.capturing else 'launch'} {self.count % self.sets}")
        self.count += 1


def scripted_board(script: Script, **changed: Any) -> Any:
    """A board of NVML that logs when it is read."""
    texts = {"driver": "570.1", "vbios": "96.00.DA", "clock_policy": "power cap 700 W", "name": None}
    board = SimpleNamespace(
        **{name: (lambda text=text: text) for name, text in texts.items()},
        **{"mig": False, "problem": None, "power_source": "instant"},
        counters=lambda energy=False: nvml.Reading(slowed_s={"thermal": 0.0}),
        read=lambda: script.log.append("NVML"),
    )
    vars(board).update(changed)
    return board


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> tuple[CudaDevice, Script]:
    script = Script()
    properties = SimpleNamespace(name="NVIDIA H100 80GB HBM3", uuid="0000-11", L2_cache_size=52428800, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(cuda, "Event", script.event)
    monkeypatch.setattr(cuda, "spin", script.spin)
    monkeypatch.setattr(cuda, "synchronize", lambda: script.log.append("synchronize"))
    monkeypatch.setattr(cuda, "graph_of", script.graph)
    monkeypatch.setattr(cuda, "current_stream", lambda: script.stream)
    monkeypatch.setattr(cuda, "set_stream", lambda stream: setattr(script, "stream", stream))
    monkeypatch.setattr(cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: script.log.append("replay")))
    monkeypatch.setattr(torch, "zeros", lambda *shape, **_: SimpleNamespace(elements=shape[0] if shape[0] else 1))
    monkeypatch.setattr(torch, "sum", lambda buffer, dim, out: script.log.append(f"read {buffer.elements * 4 / 2**20:.0f} MiB"))
    monkeypatch.setattr(cuda, "Board", lambda uuid: scripted_board(script))
    device = CudaDevice()
    script.log.clear()
    return device, script


def test_a_sample_is_a_launch_between_events_behind_a_hold_over_a_flushed_cache(scripted: tuple[CudaDevice, Script]) -> None:
    device, script = scripted
    (sample,) = device.take_samples(Work(script), COLD)
    assert script.log == [f"spin {HOLD}", "read 128 MiB", "record", "launch 0", "record", "wait"]
    assert (sample.seconds, sample.void) == (0.25e-3, None)


def test_hot_is_not_flushed_and_nvml_is_asked_while_the_device_works(scripted: tuple[CudaDevice, Script]) -> None:
    device, script = scripted
    device.take_samples(Work(script), EVENTS, watch=True)
    assert script.log == [f"spin {HOLD}", "record", "launch 0", "record", "wait", "NVML", "wait"]


def test_samples_follow_one_another_behind_one_hold(scripted: tuple[CudaDevice, Script]) -> None:
    """The first one shows how long the host takes; from then on as many as are asked for."""
    device, script = scripted
    assert len(device.take_samples(Work(script), EVENTS, 5)) == 1
    script.log.clear()
    samples = device.take_samples(Work(script), EVENTS, 5, watch=True)
    assert script.log == [f"spin {HOLD}", *["record", "launch 0", "record"] * 5, "wait", "NVML", "wait"]
    assert [sample.void for sample in samples] == [None] * 5


def test_a_sample_that_the_device_reached_before_it_was_enqueued_is_void_and_the_others_count(
    scripted: tuple[CudaDevice, Script],
) -> None:
    device, script = scripted
    device.take_samples(Work(script), EVENTS)
    script.early = 2
    samples = device.take_samples(Work(script), EVENTS, 3)
    assert [sample.void for sample in samples] == [NOT_HELD, NOT_HELD, None]


def test_a_graph_rotates_through_every_set_and_a_sample_is_the_mean_of_its_launches(scripted: tuple[CudaDevice, Script]) -> None:
    device, script = scripted
    work = Work(script)
    method = device.prepare(work, Method("graph", launches=6, sets=3))
    assert script.log == [*(f"launch {i}" for i in range(3)), "synchronize", *(f"capture {i % 3}" for i in range(6))]
    script.log.clear()
    assert device.take_samples(work, method)[0].seconds == 0.25e-3 / 6
    assert script.log == [f"spin {HOLD}", "record", "replay", "record", "wait"]
    script.log.clear()
    assert device.run_for(work, method, 1.0, launch_s=0.05) == 18  # three replays
    assert script.log == ["replay"] * 3 + ["synchronize"]


def test_work_that_cannot_be_captured_is_timed_by_events_on_the_usual_stream(scripted: tuple[CudaDevice, Script]) -> None:
    device, script = scripted
    work = Work(script, stubborn=True)
    assert device.prepare(work, Method("graph", launches=6, sets=3)) == Method("events", 1, 3)
    assert device.take_samples(work, EVENTS)[0].seconds == 0.25e-3
    assert script.stream == "usual"
    assert device.unusable


def test_a_call_that_no_hold_covers_is_timed_by_the_hosts_clock(scripted: tuple[CudaDevice, Script]) -> None:
    device, script = scripted
    script.early = 10**6
    work = Work(script)
    method = device.prepare(work, Method("events", 1, 3, flush=True))
    assert (method.mode, method.sets, method.flush) == ("host", 3, False)
    assert method.launches >= 8
    script.log.clear()
    (sample,) = device.take_samples(work, method, 30)
    assert [entry.split()[0] for entry in script.log] == ["launch"] * method.launches + ["synchronize"]
    assert len(set(script.log)) == 3 + 1, "all three sets"
    assert sample.enqueue_s == sample.seconds


def test_running_out_of_memory_in_a_capture_is_said_as_such(scripted: tuple[CudaDevice, Script]) -> None:
    device, script = scripted

    class Greedy(Work):
        def launch(self) -> None:
            if script.capturing:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 90 GiB\nlong advice")

    with pytest.raises(TooLittleMemory, match=r"^CUDA out of memory. Tried to allocate 90 GiB$"):
        device.prepare(Greedy(script), Method("graph", launches=6, sets=3))


def test_the_floor_is_a_null_kernel_timed_alike(scripted: tuple[CudaDevice, Script]) -> None:
    device, script = scripted
    assert device.floor_s(COLD) == 0.25e-3
    assert script.log[:6] == [f"spin {HOLD}", "read 128 MiB", "record", "spin 0", "record", "wait"]
    script.log.clear()
    assert device.floor_s(Method("graph", launches=4)) == 0.25e-3 / 4
    assert script.log[:5] == ["spin 0"] * 4 + [f"spin {HOLD}"]


def test_the_board_is_matched_by_name(scripted: tuple[CudaDevice, Script]) -> None:
    device, _ = scripted
    described = device.describe()
    assert (described["gpu"], described["driver"], described["device_uuid"]) == ("h100_sxm5", "570.1", "GPU-0000-11")
    assert replace(device.platform("triton"), no_compiler=None) == Platform("cuda", (9, 0))
    assert device.l2_bytes == 52428800


@pytest.mark.parametrize(("seconds", "expected"), [(2.5e-6, 2.5e-6), (math.nan, None)])
def test_a_precision_without_a_peak_has_no_prediction(
    scripted: tuple[CudaDevice, Script], monkeypatch: pytest.MonkeyPatch, seconds: float, expected: float | None
) -> None:
    """The sampler then chooses by its estimate: it would choose nothing by a NaN."""
    device, _ = scripted
    monkeypatch.setattr(cuda, "predict", lambda points, gpu, cache: SimpleNamespace(predicted_s=[seconds]))
    assert device.predict_s(OPS["matmul"].point("torch", "bf16", {"m": 8, "n": 8, "k": 8})) == expected


def test_a_device_describes_what_times_depend_on(scripted: tuple[CudaDevice, Script], monkeypatch: pytest.MonkeyPatch) -> None:
    device, _ = scripted
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91900)
    described = device.describe()
    assert all(f"`{name}`" in (ROOT / "docs" / "environment.md").read_text(encoding="utf-8") for name in described)
    told = {name: described[name] for name in ("vbios", "cuda_runtime", "cudnn", "power_source", "l2_bytes", "notes")}
    assert told == {
        **{"vbios": "96.00.DA", "cuda_runtime": "13.0", "cudnn": 91900, "power_source": "instant", "l2_bytes": 52428800, "notes": []}
    }


def test_a_cudnn_that_torch_refuses_does_not_stop_a_run(scripted: tuple[CudaDevice, Script], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise RuntimeError("cuDNN version incompatibility: PyTorch was compiled against (9, 19, 0) but found runtime version (8, 9, 2)")

    monkeypatch.setattr(torch.backends.cudnn, "version", refuse)
    assert scripted[0].describe()["cudnn"] is None


def opened(monkeypatch: pytest.MonkeyPatch, board: dict[str, Any], **properties: Any) -> CudaDevice:
    """A device on such a board, of which CUDA tells such properties."""
    found = {"name": "NVIDIA H100 80GB HBM3", "uuid": "0000-11", "L2_cache_size": 52428800, "major": 9, "minor": 0} | properties
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(**found))
    monkeypatch.setattr(cuda, "Board", lambda uuid: scripted_board(Script(), **board))
    return CudaDevice()


def test_the_boards_own_l2_is_used_everywhere_and_the_difference_is_noted(
    scripted: tuple[CudaDevice, Script], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = opened(monkeypatch, {}, L2_cache_size=62_914_560)
    assert device.gpu is not None
    assert (device.l2_bytes, device.gpu.l2_bytes, device.describe()["l2_bytes"]) == (62_914_560,) * 3
    assert device.notes == [
        "this board's L2 holds 62,914,560 bytes, configs/gpus/h100_sxm5.yaml has 52,428,800: the board's own value is used throughout"
    ]


@pytest.mark.parametrize("name", ["NVIDIA H100 80GB HBM3 MIG 3g.40gb", "NVIDIA H100 80GB HBM3"])
def test_a_mig_slice_has_no_peaks_and_is_noted(scripted: tuple[CudaDevice, Script], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whatever CUDA and NVML call it: a whole board's peaks are never taken for a slice."""
    device = opened(monkeypatch, {"mig": True, "name": lambda: "NVIDIA H100 80GB HBM3"}, name=name)
    described = device.describe()
    assert device.gpu is None
    assert described["gpu"] is None
    assert gpu_for_board(described["device_name"]) is None
    assert "no peaks" in described["notes"][0]


def test_without_nvml_the_name_that_cuda_gives_finds_the_peaks_and_the_lack_is_noted(
    scripted: tuple[CudaDevice, Script], monkeypatch: pytest.MonkeyPatch
) -> None:
    board = {"problem": "NVML Shared Library Not Found", "counters": lambda energy=False: nvml.Reading()}
    device = opened(monkeypatch, board)
    assert device.describe()["gpu"] == "h100_sxm5"
    assert "NVML Shared Library Not Found): no clocks, no power and no throttle detection" in device.notes[0]


def names_used(source: ModuleType, module: str) -> set[str]:
    """Attributes of `module` that a file uses: of "torch.cuda" or "pynvml"."""
    found = set()
    for node in ast.walk(ast.parse(inspect.getsource(source))):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == module:
            found.add(node.attr)
    return found


@pytest.mark.parametrize(("source", "name", "module"), [(cuda, "torch.cuda", torch.cuda), (nvml, "pynvml", pynvml)])
def test_every_name_used_exists(source: ModuleType, name: str, module: ModuleType) -> None:
    used = names_used(source, name)
    assert used
    assert {attribute for attribute in used if not hasattr(module, attribute)} == set()


def test_torch_signatures() -> None:
    event = inspect.signature(torch.cuda.Event.__new__).bind(torch.cuda.Event, enable_timing=True)
    graph = inspect.signature(torch.cuda.graph.__init__).bind(None, "the graph")
    assert event.arguments["enable_timing"] is True
    assert graph.arguments["cuda_graph"] == "the graph"


def test_free_memory_counts_what_the_allocator_holds_unused(monkeypatch: pytest.MonkeyPatch, scripted: tuple[CudaDevice, Script]) -> None:
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 10)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (100, 200))
    assert CudaStream(52428800).free_bytes() == 120


class Allocator:
    """A board's memory: a first launch allocates 32 MiB of workspace, which stays, and each result 8 MiB, until it is released."""

    def __init__(self) -> None:
        self.held = self.peak = 0
        self.workspace = 0
        self.result = 0

    def hold(self, bytes_: int) -> None:
        self.held += bytes_
        self.peak = max(self.peak, self.held)

    def clear(self) -> None:
        self.held, self.workspace = self.held - self.workspace, 0

    def reset_peak(self) -> None:
        self.peak = self.held


@pytest.mark.parametrize("workspace_before", [0, 64 * 2**20])
def test_peak_memory_is_that_of_a_launch_after_the_first_and_workspaces_are_scratch(
    monkeypatch: pytest.MonkeyPatch, scripted: tuple[CudaDevice, Script], workspace_before: int
) -> None:
    """Whatever points before it left, and without the 512 MiB that a compiler tries configurations with at the first launch."""
    device, _ = scripted
    memory = Allocator()

    class Product:
        def __init__(self, *arguments: Any) -> None:
            memory.hold(16 * 2**20)
            self.first = True

        def launch(self) -> None:
            if self.first:
                memory.hold(512 * 2**20)
                memory.held -= 512 * 2**20
            self.first = False
            if not memory.workspace:
                memory.workspace = 32 * 2**20
                memory.hold(memory.workspace)
            memory.hold(8 * 2**20)
            memory.held -= memory.result
            memory.result = 8 * 2**20

        def release_results(self) -> None:
            memory.held, memory.result = memory.held - memory.result, 0

    monkeypatch.setattr(cuda, "TensorWorkload", Product)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: memory.held)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: memory.peak)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", memory.reset_peak)
    monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", memory.clear, raising=False)
    memory.workspace = workspace_before
    memory.hold(workspace_before)
    workload = device.load(OPS["matmul"].point("torch", "bf16", {"m": 8, "n": 8, "k": 8}), seed=1)
    assert (workload.peak_memory_bytes, workload.scratch_bytes) == ((16 + 8 + 32) * 2**20, 32 * 2**20)
