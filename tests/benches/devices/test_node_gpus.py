"""Which GPUs a node has and which of them are chosen: CUDA_VISIBLE_DEVICES, indices, UUIDs, NUMA nodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from benches.devices import node_gpus
from benches.devices.node_gpus import GpuChoiceError, NodeGpu, choose, cpus_in, cpus_of_node, listed_gpus, numa_of, pin, shown_gpus
from benches.devices.simulated import SimulatedDevice, seed_of

GPUS = tuple(NodeGpu(i, f"GPU-{i}{i}aa", "NVIDIA H100 80GB HBM3", i // 2) for i in range(4))
MIXED = (*GPUS[:3], replace(GPUS[3], name="NVIDIA L4"))


@pytest.mark.parametrize(
    ("text", "indices"),
    [("all", [0, 1, 2, 3]), ("0,2", [0, 2]), ("3, 1", [3, 1]), ("GPU-22aa,0", [2, 0]), ("GPU-1", [1])],
)
def test_a_choice(text: str, indices: list[int]) -> None:
    assert [gpu.index for gpu in choose(text, GPUS)] == indices


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("4", "'4' is not a GPU here; choose from 0 to 3, UUIDs (GPU-…), or all"),
        ("-1", "'-1' is not a GPU here"),
        ("0,,1", "'' is not a GPU here"),
        ("0,all", "'all' is not a GPU here"),
        ("GPU-", "'GPU-' begins several UUIDs"),
        ("1,1", "GPU 1 (GPU-11aa) is named twice"),
        ("1,GPU-11aa", "GPU 1 (GPU-11aa) is named twice"),
        ("٣", "'٣' is not a GPU here"),
    ],
)
def test_a_choice_that_is_none(text: str, says: str) -> None:
    with pytest.raises(GpuChoiceError) as raised:
        choose(text, GPUS)
    assert str(raised.value).startswith(says)


def test_a_board_in_slices_is_not_measured_as_a_whole() -> None:
    with pytest.raises(
        GpuChoiceError, match="GPU 0 is split into MIG slices: leave --gpus out, and name one slice in CUDA_VISIBLE_DEVICES"
    ):
        choose("all", (replace(GPUS[0], mig=True),))


@pytest.mark.parametrize(
    ("gpus", "variables", "uuids"),
    [
        (GPUS, {}, ["GPU-00aa", "GPU-11aa", "GPU-22aa", "GPU-33aa"]),
        (GPUS, {"CUDA_VISIBLE_DEVICES": "2,3"}, ["GPU-22aa", "GPU-33aa"]),
        (GPUS, {"CUDA_VISIBLE_DEVICES": "GPU-33aa,GPU-0"}, ["GPU-33aa", "GPU-00aa"]),
        (GPUS, {"CUDA_VISIBLE_DEVICES": "1,9,2"}, ["GPU-11aa"]),  # CUDA stops at the first that is none
        (MIXED, {"CUDA_VISIBLE_DEVICES": "3", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, ["GPU-33aa"]),
        (MIXED, {"CUDA_VISIBLE_DEVICES": "GPU-33aa"}, ["GPU-33aa"]),
    ],
)
def test_indices_are_of_the_gpus_that_cuda_shows(gpus: tuple[NodeGpu, ...], variables: dict[str, str], uuids: list[str]) -> None:
    found = shown_gpus(gpus, variables)
    assert [gpu.uuid for gpu in found] == uuids
    assert [gpu.index for gpu in found] == list(range(len(uuids)))


@pytest.mark.parametrize(
    ("gpus", "variables", "says"),
    [
        ((), {}, "NVML lists no GPU"),
        (GPUS, {"CUDA_VISIBLE_DEVICES": ""}, "CUDA_VISIBLE_DEVICES='' shows none of 4 GPUs"),
        (MIXED, {"CUDA_VISIBLE_DEVICES": "0"}, "set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name UUIDs"),
    ],
)
def test_gpus_that_cannot_be_told(gpus: tuple[NodeGpu, ...], variables: dict[str, str], says: str) -> None:
    with pytest.raises(GpuChoiceError) as raised:
        shown_gpus(gpus, variables)
    assert says in str(raised.value)


def test_what_nvml_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A board whose UUID is not given is left out; NVML's bus id is not written as Linux writes it."""
    (tmp_path / "0000:1b:00.0").mkdir()
    (tmp_path / "0000:1b:00.0" / "numa_node").write_text("1\n", encoding="utf-8")
    answers: dict[str, Any] = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 3,
        "nvmlDeviceGetHandleByIndex": lambda i: i,
        "nvmlDeviceGetUUID": lambda handle: ("GPU-a", b"GPU-b", None)[handle],
        "nvmlDeviceGetName": lambda handle: "NVIDIA H100 80GB HBM3",
        "nvmlDeviceGetPciInfo": lambda handle: SimpleNamespace(busId=(b"00000000:1B:00.0", "00000000:9A:00.0", "")[handle]),
        "nvmlDeviceGetMigMode": lambda handle: (0, 0),
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    assert [(gpu.index, gpu.uuid, gpu.numa) for gpu in listed_gpus(tmp_path)] == [(0, "GPU-a", 1), (1, "GPU-b", None)]


def test_without_nvml_a_choice_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    with pytest.raises(GpuChoiceError, match="NVML gives no list of GPUs"):
        listed_gpus()


@pytest.mark.parametrize(("text", "node"), [("0\n", 0), ("1", 1), ("-1\n", None), ("", None), ("x", None), (None, None)])
def test_the_numa_node_of_a_board(text: str | None, node: int | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "0000:1b:00.0").mkdir()
        (tmp_path / "0000:1b:00.0" / "numa_node").write_text(text, encoding="utf-8")
    assert numa_of("00000000:1B:00.0", tmp_path) == node


@pytest.mark.parametrize(("text", "cpus"), [("0-3,8", [0, 1, 2, 3, 8]), ("5", [5]), ("", [])])
def test_cpus_as_linux_lists_them(text: str, cpus: list[int]) -> None:
    assert list(cpus_in(text)) == cpus


@pytest.mark.parametrize(
    ("numa", "listed", "allowed", "kept"),
    [
        (1, "4-7", {0, 1, 5, 6}, {5, 6}),
        (1, "4-7", {0, 1}, None),  # none of the node's is allowed: nothing changes
        (1, None, {0, 1}, None),
        (None, "4-7", {4, 5}, None),
    ],
)
def test_a_worker_is_kept_beside_its_board(
    numa: int | None, listed: str | None, allowed: set[int], kept: set[int] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if listed is not None:
        (tmp_path / "node1").mkdir()
        (tmp_path / "node1" / "cpulist").write_text(listed + "\n", encoding="utf-8")
    asked: list[set[int]] = []
    monkeypatch.setattr(node_gpus.os, "sched_getaffinity", lambda pid: set(allowed), raising=False)
    monkeypatch.setattr(node_gpus.os, "sched_setaffinity", lambda pid, cpus: asked.append(set(cpus)), raising=False)
    pin(numa, tmp_path)
    assert asked == ([] if kept is None else [kept])
    assert cpus_of_node(7, tmp_path) == frozenset()


def test_simulated_boards_have_seeds_and_uuids_of_their_own() -> None:
    eight = node_gpus.simulated_gpus({})
    assert [gpu.index for gpu in eight] == list(range(8))
    assert len({gpu.uuid for gpu in eight}) == len({seed_of(gpu) for gpu in eight}) == 8
    assert eight == node_gpus.simulated_gpus({"CUDA_VISIBLE_DEVICES": "", "MICROBENCH_SIMULATED_GPUS": ""})
    assert node_gpus.simulated_gpus({"MICROBENCH_SIMULATED_GPUS": "13"})[:8] == eight
    described = SimulatedDevice(seed=seed_of(eight[3]), uuid=eight[3].uuid).describe()
    assert (described["device_name"], described["device_uuid"]) == (eight[3].name, eight[3].uuid)


@pytest.mark.parametrize("text", ["0", "-1", "1025", "eight", "1.5", "9" * 5000])
def test_a_number_of_simulated_boards_that_is_none(text: str) -> None:
    with pytest.raises(GpuChoiceError, match=r"MICROBENCH_SIMULATED_GPUS: .* is not a number of GPUs from 1 to 1024"):
        node_gpus.simulated_gpus({"MICROBENCH_SIMULATED_GPUS": text})
