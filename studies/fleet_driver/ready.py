"""Actors of Ray that each stand for many GPUs and send ready-made rows, so that the driver has as much to do as with a real fleet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from benches.devices.node_gpus import simulated_gpus
from benches.fleet.messages import Batch, Ending, Opened, Order, Sent, Slot
from benches.fleet.ray_agents import RayAgents
from benches.row import Row, new_row
from benches.run import environment
from benches.run.journal import line_of
from benches.run.survey import surveyed
from kernels.op import Point
from kernels.registry import OPS

NOBODY = "GPU-00000000-0000-0000-0000-000000000000"  # as long as a UUID


def row_of(point: Point, samples: int) -> Row:
    """Returns a row as a GPU's, with so many samples."""
    times = [1e-4 + 1e-9 * i for i in range(samples)]
    found: dict[str, Any] = {
        "samples_s": times,
        "median_s": 1e-4,
        "ci_low_s": 0.99e-4,
        "ci_high_s": 1.01e-4,
        "timer": "virtual time (simulated)",
    }
    place: dict[str, Any] = {"host": environment.host(), "device_uuid": NOBODY, "gpu_index": 0}
    return new_row(point, OPS[point.op].cost(point, "cuda"), "ok", **found, **place)


def samples_for(point: Point, row_bytes: int) -> int:
    """Returns how many samples make a row of so many bytes."""
    none, hundred = (len(line_of(row_of(point, samples))) for samples in (0, 100))
    return round(100 * (row_bytes - none) / (hundred - none))


class ReadyActor:
    """Stands for GPUs, each with a number. A point's row is made once and given to each GPU with its UUID in it."""

    def __init__(self, row_bytes: int) -> None:
        self._row_bytes = row_bytes
        self._uuids: dict[int, bytes] = {}
        self._lines: dict[str, bytes] = {}
        self._environment: dict[str, Any] = {}

    def open(self, number: int, order: Order) -> Opened:
        gpu = simulated_gpus({"MICROBENCH_SIMULATED_GPUS": "1"}, number + 1)[number]
        described = {"device_kind": "simulated", "device_name": gpu.name, "device_uuid": gpu.uuid, "driver": None, "gpu": "h100_sxm5"}
        self._environment = self._environment or environment.collect(described, order.request.recorded())
        self._uuids[number] = gpu.uuid.encode()
        return Opened(surveyed(gpu), self._environment | {"device_uuid": gpu.uuid, "gpus": [gpu.recorded()]})

    def exchange(self, number: int, points: Sequence[Point]) -> Batch:
        return Batch([Sent(point.id, "ok", None, self._line(point).replace(NOBODY.encode(), self._uuids[number])) for point in points])

    def _line(self, point: Point) -> bytes:
        if point.id not in self._lines:
            self._lines[point.id] = line_of(row_of(point, samples_for(point, self._row_bytes)))
        return self._lines[point.id]

    def finish(self, number: int) -> Ending:
        return Ending([])


class ReadyAgents(RayAgents):
    """As the agents of a fleet, of which several are in one actor."""

    def __init__(self, address: str, order: Order, actors: int, row_bytes: int):
        super().__init__(address, order)
        (node,) = (node["NodeID"] for node in ray.nodes() if node["Alive"])
        where = NodeAffinitySchedulingStrategy(node, soft=False)
        ready = ray.remote(ReadyActor)
        self._ready = [ready.options(num_cpus=0, scheduling_strategy=where).remote(row_bytes) for _ in range(actors)]

    def _actor(self, number: int) -> Any:
        return self._ready[number % len(self._ready)]

    def open(self, number: int, slot: Slot) -> Any:
        return self._actor(number).open.remote(number, self._order)

    def exchange(self, number: int, points: Sequence[Point]) -> Any:
        return self._actor(number).exchange.remote(number, list(points))

    def finish(self, number: int, interrupted: bool, delete: bool) -> Any:
        return self._actor(number).finish.remote(number)

    def kill(self, number: int) -> None:
        """An actor stands for others too."""
