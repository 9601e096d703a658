"""Whoever asks what a point costs names the device, and a row, a plan and a prediction hold that device's figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from benches.devices.cpu import CpuDevice
from benches.devices.simulated import SimulatedDevice
from benches.devices.tensors import TensorWorkload
from benches.plan import make_plan
from benches.run.isolation import Isolated
from benches.sweep.load import Sweep
from benches.timing.measure import measure
from kernels.cost_model import predict
from kernels.gpus import Ceilings, load_gpu
from kernels.registry import OPS
from kernels.support import DeviceKind

OP = OPS["transformer"]
BLOCK = {"batch": 2, "sequence": 19, "hidden": 24, "heads": 3, "feedforward": 41}
POINT = OP.point("torch", "bf16", BLOCK, {"scope": "block", "pass": "backward"})  # whose traffic and memory differ by device
GPU, CPU = OP.cost(POINT, "cuda"), OP.cost(POINT, "cpu")
CEILINGS = Ceilings(peak_flops_per_s={"fp32": 1e11, "bf16": 1e11}, bandwidth_bytes_per_s=1e10)


def test_the_point_tells_devices_apart() -> None:
    assert GPU.flops == CPU.flops
    assert GPU.bytes_read < CPU.bytes_read
    assert GPU.memory_bytes < CPU.memory_bytes


def test_predictions() -> None:
    h100 = load_gpu("h100_sxm5")
    assert (predict([POINT], h100).memory_bytes[0], predict([POINT], CEILINGS).memory_bytes[0]) == (GPU.memory_bytes, CPU.memory_bytes)
    sweep = Sweep("one", Path("one.yaml"), (POINT,), 0, 1, ())
    assert make_plan(sweep, h100).prediction.bytes_read[0] == GPU.bytes_read


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cpu", "simulated"])
def test_rows(kind: str) -> None:
    device = CpuDevice(CEILINGS) if kind == "cpu" else SimulatedDevice()
    row = measure(POINT, device, seed=1, timing=False)
    expected = CPU if kind == "cpu" else GPU
    assert (row.status, row.bytes_read, row.memory_bytes) == ("verified", expected.bytes_read, expected.memory_bytes)
    workload = device.load(POINT, seed=1)
    assert workload.cost == expected
    if isinstance(workload, TensorWorkload):
        assert workload.peak_memory_bytes is not None
        assert workload.scratch_bytes is not None


@pytest.mark.parametrize(("kind", "where"), [("cpu", "cpu"), ("cuda", "cuda"), ("simulated", "cuda")])
def test_rows_of_a_worker_that_was_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, where: DeviceKind) -> None:
    isolated = Isolated({"kind": kind}, tmp_path / "worker.log", limit_s=1.0)

    def fail() -> None:
        raise RuntimeError("the pool is broken")

    monkeypatch.setattr(isolated, "_open", fail)
    row = isolated.row_of(POINT, timing=True)
    isolated.close()
    assert (row.status, row.memory_bytes) == ("error", OP.cost(POINT, where).memory_bytes)
