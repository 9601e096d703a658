"""The CUDA device's logic over a scripted `torch.cuda`: what it enqueues and in which order, and when a sample is void.

What only a GPU can show (that the gate really holds, that the flush really evicts) stands in the README as not yet run.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benches.devices import cuda
from benches.devices.cuda import HOLD_CYCLES, CudaDevice
from kernels.op import Platform


class Script:
    """Stands for torch.cuda: logs what is enqueued; the gate opens at once where `opens_early` says so."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.opens_early = 0
        self.sleeps: list[int] = []

    def event(self, enable_timing: bool) -> Any:
        assert enable_timing
        log = self.log

        def query() -> bool:
            self.opens_early -= 1
            return self.opens_early >= 0

        return SimpleNamespace(
            record=lambda: log.append("record"), synchronize=lambda: log.append("wait"), query=query, elapsed_time=lambda end: 0.25
        )

    def sleep(self, cycles: int) -> None:
        self.sleeps.append(cycles)
        self.log.append("hold")


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> tuple[CudaDevice, Script]:
    script = Script()
    properties = SimpleNamespace(name="NVIDIA H100 80GB HBM3", uuid="0000-11", L2_cache_size=52428800, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(torch.cuda, "Event", script.event)
    monkeypatch.setattr(torch.cuda, "_sleep", script.sleep)
    monkeypatch.setattr(torch, "zeros", lambda *shape, **_: SimpleNamespace(elements=shape[0]))
    monkeypatch.setattr(torch, "sum", lambda buffer, dim, out: script.log.append(f"read {buffer.elements * 4 / 2**20:.0f} MiB"))
    monkeypatch.setattr(cuda, "Board", lambda uuid: SimpleNamespace(name=lambda: None, driver=lambda: "570.1"))
    return CudaDevice(), script


def test_a_sample_is_a_launch_between_events_behind_a_gate_over_a_flushed_cache(scripted: tuple[CudaDevice, Script]) -> None:
    device, script = scripted
    seconds = device.time_once(SimpleNamespace(launch=lambda: script.log.append("launch")))  # type: ignore[arg-type]
    assert script.log == ["hold", "record", "read 128 MiB", "record", "launch", "record", "wait"]
    assert seconds == 0.25e-3


def test_a_sample_whose_gate_opened_early_is_void_and_the_gate_grows(scripted: tuple[CudaDevice, Script]) -> None:
    device, script = scripted
    script.opens_early = 2
    results = [device.time_once(SimpleNamespace(launch=lambda: None)) for _ in range(3)]  # type: ignore[arg-type]
    assert results == [None, None, 0.25e-3]
    assert script.sleeps == [HOLD_CYCLES, 2 * HOLD_CYCLES, 4 * HOLD_CYCLES]


def test_the_board_is_matched_by_name(scripted: tuple[CudaDevice, Script]) -> None:
    device, _ = scripted
    described = device.describe()
    assert (described["gpu"], described["driver"], described["device_uuid"]) == ("h100_sxm5", "570.1", "GPU-0000-11")
    assert device.platform("triton") == Platform("cuda", (9, 0))
