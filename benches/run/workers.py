"""How the worker processes of a run are started: the same for one GPU, for those of a node and for those of a fleet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benches.devices.node_gpus import NodeGpu
from benches.run.bench import part_of
from benches.run.isolation import Isolated, longest_call_s
from benches.run.pool import Pool, Worker
from benches.run.tuned_file import TunedFile

POINT_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Workers:
    """What every worker process of a run is given."""

    kind: str  # of device
    seed: int
    settings: Mapping[str, Any]  # fields of Settings that differ from the device's own
    imports: tuple[str, ...] = ()  # other people's files and modules, as a process on this machine loads them
    limit_s: float = POINT_TIMEOUT_S
    memory_bytes: int | None = None
    described: Mapping[str, Any] | None = None  # by an earlier part of the run
    tuned: TunedFile | None = None
    tune: Path | None = None
    ends: tuple[type[Exception], ...] = ()

    def opening(self, run_dir: Path) -> dict[str, Any]:
        """Returns arguments of Bench."""
        return {
            "kind": self.kind,
            "run_dir": run_dir,
            "seed": self.seed,
            "asked": dict(self.settings),
            "imports": list(self.imports),
            "tuned": self.tuned,
            "tune": self.tune,
            "described": self.described,
        }

    def isolated(self, run_dir: Path, gpu: NodeGpu | None, shared: bool = False) -> Isolated:
        """Returns a worker process that measures into a run directory. shared: whether other GPUs measure into the same one."""
        log = f"worker-{part_of(gpu)}.log" if gpu and shared else "worker.log"
        opening = self.opening(run_dir) | {"gpu": gpu, "shared": shared}
        return Isolated(opening, run_dir / log, self.limit_s, self.memory_bytes, ends=self.ends)

    def pool_of(self, run_dir: Path, gpu: NodeGpu) -> Pool:
        """Returns the worker of one GPU that has a run directory of its own."""
        return Pool([Worker(self.isolated(run_dir, gpu), gpu)], threads=True)


def settings_of(kind: str, asked: Mapping[str, Any], limit_s: float) -> dict[str, Any]:
    """Returns the fields of Settings that differ from a device's own: what was asked for, and the longest call of a point that may take
    `limit_s` seconds. Raises ValueError."""
    if kind == "cpu" and asked["cache"] == "cold":
        raise ValueError("--cache cold: a CPU's caches are not controlled here; points are hot")
    given = {name: value for name, value in asked.items() if value is not None}
    return given if kind == "cpu" else given | {"max_call_s": longest_call_s(limit_s)}
