"""One pytest session: its sweep, its points in their order, and its run once the first is measured."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benches.devices.node_gpus import NodeGpu
from benches.devices.opening import automatic_kind
from benches.devices.toolchain import missing_for_cpu, missing_for_cuda
from benches.pytest_plugin.placement import placement
from benches.pytest_plugin.progress import Progress, minutes
from benches.pytest_plugin.selection import BENCHES, named_paths
from benches.pytest_plugin.tuning import begin, ended, tuning_of
from benches.run import environment, survey_file
from benches.run.bench import Bench
from benches.run.isolation import InProcess, Measurer, free_memory_share
from benches.run.narrowing import narrowed_by
from benches.run.order import DEFAULT_SEED, shuffled
from benches.run.pool import Pool, Worker
from benches.run.replay import ReplayClock
from benches.run.resume import SHARD, SURVEY
from benches.run.run import Request, Run, RunError, default_run_dir
from benches.run.side_by_side import duration_s
from benches.run.survey import Survey
from benches.run.workers import Workers, settings_of
from benches.shards.split import ShardError, point_seconds, shard_points
from benches.sweep.load import Sweep, load_sweeps
from kernels import interpreter
from kernels.imports import Imported
from kernels.op import Point
from kernels.printing import Stream


class Session:
    """One pytest session's sweep, and its run once the first point is measured."""

    def __init__(self, config: pytest.Config):
        self.config, self.pid = config, os.getpid()
        self.resumed: Path | None = config.getoption("--resume")
        self.before = before = resumed_environment(self.resumed) if self.resumed else {}
        self.device_kind: str = asked_kind(config, before)
        self.imports = config.stash.get(IMPORTS, ())
        asked: int | None = config.getoption("--seed")
        self.seed = int(before.get("seed", DEFAULT_SEED)) if asked is None else asked
        default = self.resumed / "sweep.yaml" if self.resumed else "nightly" if self.device_kind == "cuda" else "smoke"
        self.sweep: Sweep = load_sweeps(config.getoption("--sweep") or [default])
        self.shard: str | None = config.getoption("--shard") or before.get("shard")
        self.placement = placement(config, self.device_kind, before, self.shard)
        self.tuning = tuning_of(config, self.device_kind, len(self.placement.gpus), self.resumed)
        self.points: dict[str, Point] = {point.id: point for point in points_of(self.sweep, self.shard)}
        self._order = {name: place for place, name in enumerate(self._ordered())}
        self._following: list[str] | None = None  # points in the order of their tests
        self.clock = ReplayClock()
        self.unsupported: Counter[str | None] = Counter()  # points by reason
        self._run: Run | Survey | None = None
        self.lost: list[str] = []  # points that were selected and have no row
        self.progress = Progress(config)
        self._compared = False  # whether GPUs disturb one another

    def place(self, item: pytest.Item) -> int:
        """Returns the place of a test's point in the run's order; a test without a point comes first."""
        return self._order.get(point_id(item), -1)

    def _ordered(self) -> list[str]:
        """Points at random, so that a drift falls on no one; where GPUs share them the longest first, so that all end at the same time."""
        names = shuffled(list(self.points), self.seed)
        if not self.placement.several:
            return names
        seconds = point_seconds(self.sweep)
        return sorted(names, key=lambda name: -seconds[name])

    def following(self, items: Sequence[pytest.Item], point: str, count: int) -> list[Point]:
        """Returns the points of the tests that come after that of a point, at most `count`."""
        if not count:
            return []
        if self._following is None:
            self._following = [name for name in map(point_id, items) if name in self.points]
            self._places = {name: place for place, name in enumerate(self._following)}
        place = self._places[point] + 1
        return [self.points[name] for name in self._following[place : place + count]]

    @property
    def started(self) -> Run | Survey | None:
        return self._run

    def run(self) -> Run | Survey:
        """Opens the device and the run directory at first use. Raises RunError, NoDevice or WorkerError."""
        if self._run is None:
            try:
                interpreter.choose(self.device_kind)
            except RuntimeError as e:
                raise RunError(str(e)) from e
            if self.tuning.tune:
                begin(self.tuning.tune)
                interpreter.compile_kernels()  # a simulated device too has its configs compiled, to be inspected
            run_dir = self.resumed or self.config.getoption("--run-dir") or default_run_dir()
            if self.placement.survey:
                request = replace(self._request(), within=run_dir)
                self._run = Survey(run_dir, self.placement.gpus, self._pool_of, request, self.device_kind)
            else:
                self._run = Run(run_dir, lambda: self._pool(run_dir), self._request())
            self.progress.tell(self._run.notes, important=True)
        return self._run

    def compare_side_by_side(self) -> None:
        """Before the first point that is timed on several GPUs: whether they disturb one another. Raises what ends a wait."""
        run = self.run()
        compared, self._compared = self._compared, True
        gpus = len(run.measurers)
        if compared or gpus < 2 or set(self.points) <= run.recorded:
            return
        about = f", about {minutes(duration_s(gpus))}" if self.device_kind == "cuda" else ""
        self.progress.tell([f"measuring sentinels on each of {gpus} GPUs alone, then on all together{about}"])
        self.progress.tell([run.compare_side_by_side() or "no sentinel could be measured; the workers' logs say why"])

    def without_row(self, items: list[pytest.Item]) -> list[str]:
        """Returns the points of these tests that have no row in the run."""
        recorded = self._run.recorded if self._run else set()
        return [name for name in map(point_id, items) if name in self.points and name not in recorded]

    def left_out(self) -> list[str]:
        """Returns a line for the compiler that this machine lacks, where points needed it."""
        if not self.unsupported:
            return []  # looking for a compiler takes longer than collecting many points
        missing = {"cuda": missing_for_cuda, "cpu": missing_for_cpu}.get(self.device_kind, lambda: None)()
        count = self.unsupported[missing.reason] if missing else 0
        return [f"note: {count} {'point' if count == 1 else 'points'} unsupported: {missing.reason}"] if missing and count else []

    def limits(self) -> list[str]:
        """Returns a line for each thing that the device lacks and that affects figures, such as peaks on a MIG slice or NVML's readings."""
        return [f"note: {note}" for note in self._run.environment.get("notes", [])] if self._run else []

    def tuned(self) -> list[str]:
        """Returns a line on the file of --tune, where points were measured."""
        measured = [self.points[name] for name in self._run.recorded if name in self.points] if self._run else []
        return [ended(self.tuning.tune, measured)] if self.tuning.tune and measured else []

    def _request(self) -> Request:
        if self.device_kind != "cpu" and self.config.getoption("--memory-limit") is not None:
            raise RunError("--memory-limit is for --device cpu: a CUDA context maps far more address space than it uses")
        asked = {name: self.config.getoption(f"--{name}") for name in ("cache", "regime", "energy")}
        try:
            settings = settings_of(self.device_kind, asked, self.config.getoption("--point-timeout"))
        except ValueError as e:
            raise RunError(str(e)) from None
        return Request(
            resolved=self.sweep.resolved,
            sweeps=[self.sweep.name],
            seed=self.seed,
            settings=settings,
            processes=self.config.getoption("--processes"),
            resuming=self.resumed is not None,
            retry=self.config.getoption("--retry-failed"),
            imports=self.imports,
            narrowed_by=narrowed_by(vars(self.config.option) | {"shard": self.shard}, named_paths(self.config), BENCHES),
            mode=self.placement.mode,
            shard=self.shard,
            tuned=self.tuning.text,
        )

    def _pool(self, run_dir: Path) -> Pool:
        """The workers of a run that is not a survey: one, or one a GPU."""
        several = self.placement.several
        return Pool([Worker(self._measurer(run_dir, gpu, several), gpu) for gpu in self.placement.gpus or (None,)], threads=several)

    def _pool_of(self, run_dir: Path, gpu: NodeGpu) -> Pool:
        """The worker of one GPU of a survey."""
        return self._workers().pool_of(run_dir, gpu)

    def _measurer(self, run_dir: Path, gpu: NodeGpu | None, shared: bool = False) -> Measurer:
        if self.device_kind == "cpu" and not self.before:
            self.progress.tell(["measuring the peak rates of this CPU, about 15 s"])
        workers = self._workers()
        if self.config.getoption("--isolation") == "none":
            return InProcess(Bench(**workers.opening(run_dir)))
        return workers.isolated(run_dir, gpu, shared)

    def _workers(self) -> Workers:
        gigabytes: float | None = self.config.getoption("--memory-limit")
        limit = free_memory_share() if gigabytes is None else int(gigabytes * 1e9)
        return Workers(
            kind=self.device_kind,
            seed=self.seed,
            settings=self._request().settings,
            imports=tuple(one.again for one in self.imports),
            limit_s=self.config.getoption("--point-timeout"),
            memory_bytes=limit if self.device_kind == "cpu" else None,
            described=self.before if self.before.get("ceilings") else None,
            tuned=self.tuning.tuned,
            tune=self.tuning.tune,
            ends=(pytest.exit.Exception,),
        )


KEY = pytest.StashKey[Session]()
IMPORTS = pytest.StashKey[tuple[Imported, ...]]()
OUT = pytest.StashKey[Stream]()  # what this session prints to


def resumed_environment(run_dir: Path) -> dict[str, Any]:
    """Returns the environment of the run to resume; of a survey, what is known of all its runs. The directory of one of a survey's GPUs is
    continued as any run of one GPU. Raises pytest.UsageError where the directory holds no run."""
    try:
        if survey_file.is_survey(run_dir):
            return survey_file.read_survey(run_dir).model_dump() | {"mode": SURVEY}
        found = environment.read(run_dir)
        return found | ({"mode": SHARD} if found.get("mode") == SURVEY else {})
    except (OSError, ValueError) as e:
        raise pytest.UsageError(f"--resume {run_dir}: no run to resume ({e})") from None


def asked_kind(config: pytest.Config, before: dict[str, Any] | None = None) -> str:
    """Returns the kind of device of a session. before: the environment of the run that it resumes; None to read it."""
    kind: str = config.getoption("--device")
    if kind != "auto":
        return kind
    if before is None:
        resumed: Path | None = config.getoption("--resume")
        before = resumed_environment(resumed) if resumed else {}
    return before.get("device_kind") or automatic_kind()


def points_of(sweep: Sweep, shard: str | None) -> Sequence[Point]:
    """Returns the points of the sweep, or of its part such as 1/4. Raises pytest.UsageError for what is not a part."""
    try:
        return shard_points(sweep, shard) if shard else sweep.points
    except ShardError as e:
        raise pytest.UsageError(f"--shard: {e}") from None


def point_id(item: pytest.Item) -> str:
    """The id of a test's point; "" for a test without one."""
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("point")) if callspec else ""
