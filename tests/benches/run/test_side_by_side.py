"""Sentinels of several GPUs alone and together: who works when, and what is made of their readings."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benches.devices.simulated import SimulatedDevice
from benches.run.isolation import SENTINELS, Isolated
from benches.run.sentinels import Reading, Sentinels, read_parts, read_sentinels
from benches.run.side_by_side import compared, disturbing, measure_alone_and_together, ratios, read_ratios, sentence
from kernels.op import Point
from kernels.registry import OPS


class Node:
    """Counts how many of its GPUs work at a time. Those that are to work together wait until all do."""

    def __init__(self, gpus: int):
        self.working, self.most = 0, 0
        self.lock, self.all_work = threading.Lock(), threading.Barrier(gpus)


class OnNode:
    """A measurer of one GPU, which notes how many others worked. fails: what it raises when it works alone."""

    def __init__(self, node: Node, fails: BaseException | None = None):
        self.node, self.fails = node, fails
        self.read: list[tuple[int, int]] = []  # others, and how many worked at that moment
        self.interrupted: list[str | None] = []

    def read_sentinels(self, others: int) -> None:
        with self.node.lock:
            self.node.working += 1
        if others:
            self.node.all_work.wait(30)
        self.read.append((others, self.node.working))
        if others:
            self.node.all_work.wait(30)
        with self.node.lock:
            self.node.working -= 1
        if self.fails:
            raise self.fails

    def interrupt(self, point: str | None, reason: str) -> None:
        self.interrupted.append(point)


@pytest.mark.parametrize("gpus", [2, 3, 8])
def test_each_works_alone_once_and_then_all_at_the_same_time(gpus: int) -> None:
    node = Node(gpus)
    measurers: list[Any] = [OnNode(node) for _ in range(gpus)]
    measure_alone_and_together(measurers)
    assert [one.read for one in measurers] == [[(0, 1), (gpus - 1, gpus)]] * gpus


def test_what_ends_the_wait_ends_the_workers_too() -> None:
    node = Node(3)
    measurers: list[Any] = [OnNode(node), OnNode(node, KeyboardInterrupt()), OnNode(node)]
    with pytest.raises(KeyboardInterrupt):
        measure_alone_and_together(measurers)
    assert [one.interrupted for one in measurers] == [[SENTINELS]] * 3
    assert measurers[2].read == []


def reading(name: str, seconds: float, others: int | None) -> Reading:
    return Reading(name, 0.0, "", seconds, others=others)


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ([], {}),
        ([("copy", 2.0, 0), ("copy", 3.0, 7)], {"copy": 1.5}),
        ([("copy", 2.0, 0), ("copy", 9.0, None), ("copy", 3.0, 1)], {"copy": 1.5}),
        ([("copy", 2.0, 0), ("matmul", 3.0, 7)], {}),
        ([("copy", 0.0, 0), ("copy", 3.0, 7)], {}),
        ([("copy", 1.0, 0), ("copy", 2.0, 7), ("copy", 3.0, 0), ("copy", 4.0, 7)], {"copy": 1.5}),  # a run that was resumed
        ([("copy", 2.0, 0), ("copy", 1.0, 7), ("matmul", 4.0, 0), ("matmul", 5.0, 7)], {"copy": 0.5, "matmul": 1.25}),
    ],
)
def test_ratios(readings: list[tuple[str, float, int | None]], expected: Mapping[str, float]) -> None:
    assert ratios([reading(*one) for one in readings]) == expected


@pytest.mark.parametrize(
    ("found", "said", "disturbed"),
    [
        ({}, "", []),
        (
            {"gpu0": {"copy": 1.0002}, "gpu1": {"copy": 1.0041}, "gpu2": {"copy": 0.9998}},
            "GPUs side by side do not disturb one another; change of time while the others work (and of the most disturbed GPU): "
            "copy +0.0% (+0.4% gpu1)",
            [],
        ),
        (
            {"gpu0": {"copy": 1.0, "matmul": 1.03}, "gpu1": {"copy": 1.002, "matmul": 1.05}},
            "GPUs side by side disturb one another; change of time while the others work (and of the most disturbed GPU): "
            "copy +0.1% (+0.2% gpu1), matmul +4.0% (+5.0% gpu1)",
            ["matmul"],
        ),
        (
            {"gpu4": {"copy": 1.031}},
            "GPUs side by side disturb one another; change of time while the others work: copy +3.1%",
            ["copy"],
        ),
    ],
)
def test_what_is_said(found: dict[str, dict[str, float]], said: str, disturbed: list[str]) -> None:
    assert sentence(compared(found)) == said
    assert [one.name for one in disturbing(compared(found))] == disturbed


@pytest.mark.parametrize("part", ["", "gpu3"])
def test_readings_are_kept_with_how_many_worked_and_no_report_mixes_them(part: str, tmp_path: Path) -> None:
    device = SimulatedDevice()
    sentinels = Sentinels(device, tmp_path, seed=1, part=part)
    alone, beside = sentinels.read(0), sentinels.read(7)
    assert sentinels.tick() == []  # they have just been measured
    assert [one.others for one in (*alone, *beside)] == [0, 0, 7, 7]
    assert read_parts(tmp_path) == {part: [*alone, *beside]}
    assert [one.others for one in read_sentinels(tmp_path)] == [7, 7]
    found = read_ratios([tmp_path])
    assert found == {part or tmp_path.name: ratios([*alone, *beside])}
    assert list(found[part or tmp_path.name].values()) == pytest.approx([1.0, 1.0], abs=0.01)


@pytest.mark.slow
def test_a_worker_that_ends_costs_its_readings_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROBENCH_FAULTS", "crash:elementwise-*")
    point: Point = OPS["matmul"].point("torch", "bf16", {"m": 127, "n": 512, "k": 512})
    measurer = Isolated({"kind": "simulated", "run_dir": tmp_path, "seed": 1, "asked": {}}, tmp_path / "log", limit_s=120.0)
    try:
        measurer.describe()
        measurer.read_sentinels(1)
        assert read_parts(tmp_path) == {}
        assert measurer.row_of(point, timing=False).status == "verified"
    finally:
        measurer.close()
