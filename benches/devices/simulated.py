"""An H100 in virtual time that knows the truth: each kernel takes what the cost model predicts, with noise. That is the time of Triton's
matmul with the config of the rule; other configs are faster or slower by a few percent each.

It runs the same path as a GPU from YAML to report on any machine, in seconds, and computes no numbers: its gate passes unless a fault
is scripted. Its rows say where they come from (`timer`), and so does environment.json.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any, Literal

from benches.correctness import Verdict
from benches.devices import faults
from benches.devices.base import Reading, Settings, TooLittleMemory
from benches.devices.node_gpus import NodeGpu, simulated_name
from benches.devices.simulated_facts import planted
from benches.devices.streamed import Streamed
from benches.devices.virtual import Behaviour, VirtualGpu
from benches.row import Cache
from kernels.cost_model import predict, predict_phases
from kernels.gpus import DEFAULT_GPU, Gpu, load_gpu
from kernels.loop_work import LoopWork
from kernels.matmul.choice import HOPPER, candidates, case_of, choice_of, is_tunable, rule
from kernels.matmul.configs import Config
from kernels.op import Cost, Language, Point
from kernels.registry import OPS
from kernels.support import Platform

DRIVER = "MICROBENCH_SIMULATED_DRIVER"  # the version of a driver that a machine's simulated boards claim to have
SEED = 1
SEEDS_A_BOARD = 10_000  # one a process that had the board: more than a run replaces
STEP, FASTER = 0.02, 2  # by how much a config's time differs from the next one's; at most so many are faster than the rule's
LYING_THROTTLE_C, LYING_THROTTLE = 38.0, 1.15  # reached after a second's work; too little to move a time out of its range


class SimulatedWorkload:
    """A point's true times, cold and hot; no tensors."""

    config: str | None = None
    config_origin: Literal["rule", "tuned"] | None = None
    machine_code_hash: str | None = None
    loops: Sequence[LoopWork] = ()
    peak_memory_bytes: int | None = None
    scratch_bytes: int | None = None
    fresh_inputs: bool | None = None
    rotatable = True
    _names = count()

    def __init__(
        self,
        gpu: VirtualGpu,
        cost: Cost,
        cold_s: float,
        hot_s: float,
        fault: str | None = None,
        phases_s: Mapping[str, float] | None = None,
    ):
        self._phases_s = phases_s or {}
        self.cost, self.cold_s, self.hot_s = cost, cold_s, hot_s
        self._gpu, self._fault, self._name = gpu, fault, next(self._names)
        self._counts = [0]
        self._next = 0
        self._checks = 0

    @property
    def sets(self) -> int:
        return len(self._counts)

    @property
    def touched(self) -> int:
        return sum(launches > 0 for launches in self._counts)

    @property
    def launches(self) -> int:
        return sum(self._counts)

    def rotate(self, sets: int) -> None:
        held = sets * self.cost.memory_bytes
        if held > self._gpu.gpu.memory_bytes:
            gpu = self._gpu.gpu
            raise TooLittleMemory(f"needs {held / 1e9:.1f} GB, the simulated {gpu.name} has {gpu.memory_bytes / 1e9:.0f} GB")
        self._counts = [0] * sets
        self._next = 0

    def launch(self) -> None:
        self._counts[self._next] += 1
        self._gpu.kernel(self.cold_s, self.hot_s, (self._name, self._next), self.cost.bytes)
        self._next = (self._next + 1) % len(self._counts)

    def poison(self) -> None:
        pass

    def refill(self) -> None:
        pass

    def keep(self) -> None:
        pass

    @property
    def capturable(self) -> bool:
        return self._gpu.behaviour.capturable

    @property
    def updates(self) -> bool:
        return False

    @property
    def phases(self) -> Sequence[tuple[str, Callable[[], None]]]:
        """Each takes what the cost model predicts."""
        return [(name, partial(self._gpu.kernel, seconds, seconds, name, self.cost.bytes)) for name, seconds in self._phases_s.items()]

    def verify(self) -> Verdict:
        self._checks += 1
        if self._fault == "wrong" or (self._fault == "wrong_later" and self._checks > 1):
            return Verdict(math.inf, "scripted: 1 of 1 elements is off")
        return Verdict(0.0)


class LyingGpu(VirtualGpu):
    """A virtual GPU that does not do what the suite assumes, as far as `lies` names (faults.LIES)."""

    def __init__(self, gpu: Gpu, behaviour: Behaviour, seed: int, lies: frozenset[str], slower: float = 1.0):
        self._lies, self._slower = lies, slower
        if "l2" in lies:
            gpu = gpu.model_copy(update={"l2_bytes": 2 * gpu.l2_bytes})
        if "clock" in lies:
            behaviour = replace(behaviour, throttle_c=LYING_THROTTLE_C, throttle_factor=LYING_THROTTLE)
        super().__init__(gpu, behaviour, seed)

    def read(self) -> Reading:
        found = super().read()
        return found if found.sm_clock_hz is None else replace(found, sm_clock_hz=found.sm_clock_hz / self._slower)

    def hold(self, seconds: float) -> None:
        super().hold(seconds / 2 if "hold" in self._lies else seconds)

    def _keep_only(self, buffers: Hashable, bytes_: float) -> None:
        if not ("flush" in self._lies and buffers == "flush"):
            super()._keep_only(buffers, bytes_)


class SimulatedDevice(Streamed):
    """A virtual H100 whose kernels take what the cost model predicts. Raises FaultError for faults that are none."""

    kind: Literal["simulated"] = "simulated"
    timer = "virtual time (simulated)"

    def __init__(self, behaviour: Behaviour | None = None, seed: int = SEED, uuid: str | None = None):
        self._uuid = uuid
        self.gpu = load_gpu(DEFAULT_GPU)
        self.settings = Settings()
        self._faults = faults.parse(os.environ.get(faults.VARIABLE, ""))
        self._slower = planted(self._faults, uuid).get(faults.SLOWER, 1.0)
        self._virtual = LyingGpu(self.gpu, behaviour or Behaviour(), seed, faults.lies(self._faults), self._slower)
        self._lost: str | None = None
        super().__init__(self._virtual, self._virtual)

    @property
    def l2_bytes(self) -> int:
        """As the data sheet has it, whatever the virtual GPU does."""
        return self.gpu.l2_bytes

    @property
    def busy_s(self) -> float:
        """Device seconds worked so far."""
        return self._virtual.busy_s

    def platform(self, language: Language) -> Platform:
        return Platform("cuda", self.gpu.compute_capability)

    def load(self, point: Point, seed: int) -> SimulatedWorkload:
        self.disarm()
        fault = faults.fault_of(point.id, self._faults)
        if fault is not None and fault in faults.ACTIONS:
            faults.ACTIONS[fault]()
        if fault is not None and fault in faults.LASTING:
            self._lost = faults.LASTING[fault]
        if self._lost:
            raise RuntimeError(self._lost)
        cost = OPS[point.op].cost(point, "cuda")
        cold_s, hot_s = (self._seconds(point, cache, self._virtual.gpu) for cache in ("cold", "hot"))
        platform = self.platform("triton")
        chosen = choice_of(point, self.gpu.sm_count, platform) if is_tunable(point) else None
        factor = self._slower * (slowness(point, chosen[0], self.gpu.sm_count, platform) if chosen else 1.0)
        workload = self.workload(cost, factor * cold_s, factor * hot_s, fault, predict_phases(point, self.gpu))
        if chosen:
            workload.config, workload.config_origin = str(chosen[0]), chosen[1]
        workload.rotate(1)
        workload.launch()
        return workload

    def workload(
        self, cost: Cost, cold_s: float, hot_s: float, fault: str | None = None, phases_s: Mapping[str, float] | None = None
    ) -> SimulatedWorkload:
        """A kernel of given true times, seconds."""
        return SimulatedWorkload(self._virtual, cost, cold_s, hot_s, fault, phases_s)

    def predict_s(self, point: Point) -> float | None:
        return self._seconds(point, self.settings.cache, self.gpu)

    def _seconds(self, point: Point, cache: Cache, gpu: Gpu) -> float:
        """By the cost model."""
        return float(predict([point], gpu, cache).predicted_s[0])

    def describe(self) -> dict[str, Any]:
        return {
            "device_kind": self.kind,
            "device_name": simulated_name(),
            "device_uuid": self._uuid,
            "driver": os.environ.get(DRIVER) or None,
            "gpu": self.gpu.name,
            "ceilings": None,
        }


def slowness(point: Point, config: Config, sm_count: int, platform: Platform = HOPPER) -> float:
    """Returns the time of a config of Triton's matmul over that of the rule's: the configs of a case stand in an order of their own, STEP
    apart, in which the rule's is among the fastest."""
    ruled, case = rule(point, sm_count, platform), case_of(point)
    if config == ruled:
        return 1.0
    others = [one for one in candidates(point, sm_count, platform) if one != ruled]
    others.sort(key=lambda one: zlib.crc32(repr((case, str(one))).encode()))
    place = min(zlib.crc32(repr(case).encode()) % (FASTER + 1), len(others))
    order = [*others[:place], ruled, *others[place:]]
    return 1 + STEP * (order.index(config) - place)


def seed_of(gpu: NodeGpu | None) -> int:
    """Returns the seed of a board's first process; the next ones count from it. None: the board of a run that names none."""
    return SEED if gpu is None else SEED + SEEDS_A_BOARD * (gpu.index + 1)
