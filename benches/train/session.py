"""A run of training steps: set up, made, timed, saved."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benches.train.training_device import TrainingDevice
from kernels.models.modules import build, loss
from kernels.op import Point
from kernels.torch_modes import set_precision_mode
from kernels.training import checkpoint
from kernels.training.checkpoint import CheckpointError
from kernels.training.data import batches, write_made_up
from kernels.training.loader import Loader
from kernels.training.loop import Trainer
from kernels.training.prepare import prepare
from kernels.training.sizes import config_of, recipe_of, unit_of

WARM_UP = 3  # steps that no rate counts: allocators and caches are empty
PHASED = 9  # steps at the end that are timed phase by phase, and so with a wait after each phase
LATE = 10  # losses that the last one is a mean of
MADE_UP_SEED = 0  # the same data whatever the seed of weights and batches


@dataclass(frozen=True)
class Result:
    """What a session found. Seconds; None where too few steps were made to tell."""

    point: Point
    on: TrainingDevice
    made_up: bool  # the data, of which the loss of the best model is known
    steps: int
    skipped: int
    first_loss: float | None
    last_loss: float | None
    step_s: float | None
    phases_s: dict[str, float]


class Session:
    """One run of `steps` steps in all. Raises DataError, CheckpointError and OSError's kin of them while it is set up."""

    def __init__(self, given: argparse.Namespace, point: Point, on: TrainingDevice):
        self._given, self._point, self._on = given, point, on
        set_precision_mode(point.precision)
        torch.manual_seed(given.seed)
        self._folder = TemporaryDirectory(prefix="train-")
        recipe = replace(recipe_of(point), learning_rate=given.learning_rate)
        source, count = batches(point, given.data or self._made_up(), given.seed)
        module = prepare(build(config_of(point), on.device, torch.float32, given.seed), recipe)
        self._trainer = Trainer(module, loss, Loader(source, on.device), recipe)
        # What a checkpoint must agree in, beside the recipe: the batches follow from it.
        self._identity = {"dims": dict(point.dims), "seed": given.seed, "data": str(given.data or "made up"), unit_of(point): count}
        if given.checkpoint and os.path.exists(given.checkpoint):
            self._restore(given.checkpoint)
        self._losses: list[float] = []
        self._rates_s: list[float] = []
        self._phases_s: dict[str, list[float]] = {}

    def _made_up(self) -> Path:
        path = Path(self._folder.name) / "data.npy"
        write_made_up(self._point, path, MADE_UP_SEED)
        return path

    def _restore(self, path: Path) -> None:
        state = checkpoint.load(path)
        try:
            if state.get("run") != self._identity:
                raise CheckpointError(f"was trained with {state.get('run')}, not with {self._identity}")
            self._trainer.restore(state)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error

    def save(self) -> None:
        """Raises CheckpointError."""
        if self._given.checkpoint:
            checkpoint.save(self._given.checkpoint, {"run": self._identity, **self._trainer.state()})

    def begun(self) -> str:
        """For a reader, before the first step."""
        after = f", after {self._trainer.steps} steps from {self._given.checkpoint}" if self._trainer.steps else ""
        parameters = config_of(self._point).parameters
        return f"{self._point.id} on {self._on.device.type}: {parameters:,} parameters, {self._given.steps} steps{after}"

    def run(self, console: Console) -> bool:
        """Makes the steps that are left, and saves. True where Ctrl-C stopped it. Raises DataError and CheckpointError."""
        text = TextColumn("loss {task.fields[loss]:.4g}")
        with Progress(TextColumn("training"), BarColumn(), MofNCompleteColumn(), text, TimeRemainingColumn(), console=console) as progress:
            task = progress.add_task("", total=self._given.steps, completed=self._trainer.steps, loss=float("nan"))
            try:
                while self._trainer.steps < self._given.steps:
                    self._step()
                    progress.update(task, completed=self._trainer.steps, loss=self._losses[-1])
                    if self._trainer.steps % self._given.save_every == 0:
                        self.save()
            except KeyboardInterrupt:
                self.save()
                return True
            finally:
                self._trainer.loader.close()
        self.save()
        return False

    def _step(self) -> None:
        start = time.perf_counter()
        if self._given.steps - self._trainer.steps <= PHASED:
            for name, call in self._phases():
                self._timed(name, call)
        else:
            self._trainer.step()
            self._on.synchronize()
            self._rates_s.append(time.perf_counter() - start)
        self._losses.append(float(self._trainer.loss))

    def _phases(self) -> tuple[tuple[str, Callable[[], object]], ...]:
        t = self._trainer
        return ("data", t.data), ("forward", t.forward), ("backward", t.backward), ("optimizer", t.finish)

    def _timed(self, name: str, call: Callable[[], object]) -> None:
        start = time.perf_counter()
        call()
        self._on.synchronize()
        self._phases_s.setdefault(name, []).append(time.perf_counter() - start)

    def result(self) -> Result:
        counted = self._rates_s[WARM_UP:]
        return Result(
            self._point,
            self._on,
            self._given.data is None,
            self._trainer.steps,
            self._trainer.skipped,
            self._losses[0] if self._losses else None,
            fmean(self._losses[-LATE:]) if self._losses else None,
            fmean(counted) if counted else None,
            {name: median(times) for name, times in self._phases_s.items()},
        )
