"""The CUDA device's logic over a scripted `torch.cuda`: what it enqueues and in which order, and when a sample is void.

What only a GPU can show (that the gate really holds, that the flush really evicts) stands in the README as not yet run. That every name
of `torch.cuda` and `pynvml` which the device uses exists is checked here against the installed versions.
"""

from __future__ import annotations

import ast
import inspect
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
from benches.devices.nvml import Board
from benches.devices.streamed import HOLD_S, NOT_HELD
from kernels.op import Platform

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


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> tuple[CudaDevice, Script]:
    script = Script()
    properties = SimpleNamespace(name="NVIDIA H100 80GB HBM3", uuid="0000-11", L2_cache_size=52428800, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(torch.cuda, "Event", script.event)
    monkeypatch.setattr(torch.cuda, "_sleep", script.spin)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: script.log.append("synchronize"))
    monkeypatch.setattr(torch.cuda, "graph", script.graph)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: script.stream)
    monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: setattr(script, "stream", stream))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: script.log.append("replay")))
    monkeypatch.setattr(torch, "zeros", lambda *shape, **_: SimpleNamespace(elements=shape[0] if shape[0] else 1))
    monkeypatch.setattr(torch, "sum", lambda buffer, dim, out: script.log.append(f"read {buffer.elements * 4 / 2**20:.0f} MiB"))
    board = SimpleNamespace(
        name=lambda: None,
        driver=lambda: "570.1",
        clock_policy=lambda: "power cap 700 W",
        read=lambda: script.log.append("NVML"),
        counters=lambda energy=False: None,
    )
    monkeypatch.setattr(cuda, "Board", lambda uuid: board)
    device = CudaDevice()
    script.log.clear()
    return device, script


def test_a_sample_is_a_launch_between_events_behind_a_hold_over_a_flushed_cache(scripted: tuple[CudaDevice, Script]) -> None:
    device, script = scripted
    (shot,) = device.take(Work(script), COLD)
    assert script.log == [f"spin {HOLD}", "read 128 MiB", "record", "launch 0", "record", "wait"]
    assert (shot.seconds, shot.void) == (0.25e-3, None)


def test_hot_is_not_flushed_and_nvml_is_asked_while_the_device_works(scripted: tuple[CudaDevice, Script]) -> None:
    device, script = scripted
    device.take(Work(script), EVENTS, watch=True)
    assert script.log == [f"spin {HOLD}", "record", "launch 0", "record", "wait", "NVML", "wait"]


def test_samples_follow_one_another_behind_one_hold(scripted: tuple[CudaDevice, Script]) -> None:
    """The first one shows how long the host takes; from then on as many as are asked for."""
    device, script = scripted
    assert len(device.take(Work(script), EVENTS, 5)) == 1
    script.log.clear()
    shots = device.take(Work(script), EVENTS, 5, watch=True)
    assert script.log == [f"spin {HOLD}", *["record", "launch 0", "record"] * 5, "wait", "NVML", "wait"]
    assert [shot.void for shot in shots] == [None] * 5


def test_a_sample_that_the_device_reached_before_it_was_enqueued_is_void_and_the_others_count(
    scripted: tuple[CudaDevice, Script],
) -> None:
    device, script = scripted
    device.take(Work(script), EVENTS)
    script.early = 2
    shots = device.take(Work(script), EVENTS, 3)
    assert [shot.void for shot in shots] == [NOT_HELD, NOT_HELD, None]


def test_a_graph_rotates_through_every_set_and_a_sample_is_the_mean_of_its_launches(scripted: tuple[CudaDevice, Script]) -> None:
    device, script = scripted
    work = Work(script)
    method = device.arm(work, Method("graph", launches=6, sets=3))
    assert script.log == [*(f"launch {i}" for i in range(3)), "synchronize", *(f"capture {i % 3}" for i in range(6))]
    script.log.clear()
    assert device.take(work, method)[0].seconds == 0.25e-3 / 6
    assert script.log == [f"spin {HOLD}", "record", "replay", "record", "wait"]
    script.log.clear()
    assert device.run_for(work, method, 1.0, launch_s=0.05) == 18  # three replays
    assert script.log == ["replay"] * 3 + ["synchronize"]


def test_work_that_cannot_be_captured_is_timed_by_events_on_the_usual_stream(scripted: tuple[CudaDevice, Script]) -> None:
    device, script = scripted
    work = Work(script, stubborn=True)
    assert device.arm(work, Method("graph", launches=6, sets=3)) == Method("events", 1, 3)
    assert device.take(work, EVENTS)[0].seconds == 0.25e-3
    assert script.stream == "usual"
    assert device.spoilt


def test_a_call_that_no_hold_covers_is_timed_by_the_hosts_clock(scripted: tuple[CudaDevice, Script]) -> None:
    device, script = scripted
    script.early = 10**6
    work = Work(script)
    method = device.arm(work, Method("events", 1, 3, flush=True))
    assert (method.mode, method.sets, method.flush) == ("host", 3, False)
    assert method.launches >= 8
    script.log.clear()
    (shot,) = device.take(work, method, 30)
    assert [entry.split()[0] for entry in script.log] == ["launch"] * method.launches + ["synchronize"]
    assert len(set(script.log)) == 3 + 1, "all three sets"
    assert shot.enqueue_s == shot.seconds


def test_running_out_of_memory_in_a_capture_is_said_as_such(scripted: tuple[CudaDevice, Script]) -> None:
    device, script = scripted

    class Greedy(Work):
        def launch(self) -> None:
            if script.capturing:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 90 GiB\nlong advice")

    with pytest.raises(TooLittleMemory, match=r"^CUDA out of memory. Tried to allocate 90 GiB$"):
        device.arm(Greedy(script), Method("graph", launches=6, sets=3))


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


def nvml_script(monkeypatch: pytest.MonkeyPatch, failing: set[str]) -> Board:
    """A board that answers every query but those in `failing`."""

    def answer(name: str, value: Any) -> None:
        def query(*arguments: Any) -> Any:
            if name in failing:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            return value(*arguments) if callable(value) else value

        monkeypatch.setattr(pynvml, name, query)

    answer("nvmlInit", None)
    answer("nvmlDeviceGetHandleByUUID", "handle")
    answer("nvmlDeviceGetCurrentClocksThrottleReasons", pynvml.nvmlClocksThrottleReasonSwPowerCap)
    answer("nvmlDeviceGetClockInfo", lambda handle, clock: {pynvml.NVML_CLOCK_SM: 1755, pynvml.NVML_CLOCK_MEM: 2619}[clock])
    answer("nvmlDeviceGetPowerUsage", 650_000)
    answer("nvmlDeviceGetTemperature", 61)
    answer("nvmlDeviceGetTotalEnergyConsumption", 5_000)
    answer("nvmlDeviceGetViolationStatus", lambda handle, policy: SimpleNamespace(violationTime=(1 + policy) * 10**9))
    field = SimpleNamespace(nvmlReturn=pynvml.NVML_SUCCESS, fieldId=271, value=SimpleNamespace(ullVal=7 * 10**9))
    refused = SimpleNamespace(nvmlReturn=pynvml.NVML_ERROR_NOT_SUPPORTED, fieldId=270, value=None)
    answer("nvmlDeviceGetFieldValues", lambda handle, ids: [field, refused])
    return Board("GPU-0")


def test_a_reading_is_in_si_units(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = nvml_script(monkeypatch, set()).read()
    assert (reading.sm_clock_hz, reading.memory_clock_hz, reading.power_w) == (1.755e9, 2.619e9, 650.0)
    assert (reading.temperature_c, reading.energy_j, reading.reasons) == (61, 5.0, ("power cap",))
    assert reading.slowed_s == {"power cap": 1.0, "thermal": 2.0, "board limit": 4.0, "reliability": 6.0, "power brake": 7.0}


def test_what_a_board_does_not_tell_is_none_and_nothing_else_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = nvml_script(monkeypatch, {"nvmlDeviceGetViolationStatus", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetFieldValues"}).read()
    assert reading.power_w is None
    assert reading.slowed_s == {}
    assert reading.sm_clock_hz == 1.755e9


def test_without_nvml_a_reading_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    assert nvml_script(monkeypatch, {"nvmlInit"}).read() == nvml.Reading()


def test_free_memory_counts_what_the_allocator_holds_unused(monkeypatch: pytest.MonkeyPatch, scripted: tuple[CudaDevice, Script]) -> None:
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 10)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (100, 200))
    assert CudaStream(52428800).free_bytes() == 120
