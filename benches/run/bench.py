"""A device as a run uses it: with the settings that were asked for, and its sentinels measured now and then between the points."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benches.devices.node_gpus import NodeGpu
from benches.devices.opening import open_device
from benches.row import Row
from benches.run.errors import keep_error
from benches.run.sentinels import Sentinels
from benches.run.tuned_file import TunedFile
from benches.run.tuning import apply, here, tune_into
from benches.timing.measure import measure
from kernels.imports import load_imports
from kernels.matmul.choice import is_tunable
from kernels.op import Point


class Bench:
    """Opens the device of a kind. Raises NoDevice.

    asked: fields of Settings that differ from the device's own. described, generation, gpu: as open_device has them. imports: other
    people's files and modules, which are loaded once the device is open: raises ImportProblem. shared: whether other GPUs measure into
    the same run directory. tuned: choices that kernels take where they are of this GPU, version and source. tune: the file that gets a
    choice for each point, before the point is measured.
    """

    def __init__(
        self,
        kind: str,
        run_dir: Path,
        seed: int,
        asked: dict[str, Any],
        described: dict[str, Any] | None = None,
        generation: int = 0,
        imports: Sequence[str] = (),
        gpu: NodeGpu | None = None,
        shared: bool = False,
        tuned: TunedFile | None = None,
        tune: Path | None = None,
    ):
        self.device = open_device(kind, described, generation, gpu)  # first: it takes its clocks, which imported code could replace
        load_imports(imports)
        self.device.settings = replace(self.device.settings, **asked)
        self._seed, self._run_dir = seed, run_dir
        self._tune = tune
        self._notes = apply(tuned, here(self.device)) if tuned else []
        self._sentinels = Sentinels(self.device, run_dir, seed, part=part_of(gpu) if gpu and shared else "")

    def row_of(self, point: Point, timing: bool) -> Row:
        """The sentinels first, if it is time for them, then the tuning of the point, if it was asked for."""
        if timing:
            self._tick()
            if is_tunable(point):
                self._add_choice(point)
        return measure(point, self.device, self._seed, timing, partial(keep_error, self._run_dir))

    def describe(self) -> dict[str, Any]:
        """What the device says of itself, and a note on tuned choices that are not used."""
        described = self.device.describe()
        return described | {"notes": [*described.get("notes", []), *self._notes]} if self._notes else described

    def read_sentinels(self, others: int) -> None:
        """Measures the sentinels as `others` other GPUs do at the same time. One that fails leaves no reading; the log says why."""
        try:
            self._sentinels.read(others)
        except Exception:
            traceback.print_exc(file=sys.stderr)

    def _add_choice(self, point: Point) -> None:
        """Tunes the point, where that was asked for. The point is measured all the same where that fails; the log says why."""
        try:
            if self._tune:
                tune_into(self._tune, point, self.device, self._seed)
        except Exception:
            traceback.print_exc(file=sys.stderr)

    def _tick(self) -> None:
        try:
            self._sentinels.tick()
        except Exception:  # a sentinel that fails costs no point; the log says why
            traceback.print_exc(file=sys.stderr)


def part_of(gpu: NodeGpu) -> str:
    """Returns what the files of one GPU are called in a run directory that several share."""
    return f"gpu{gpu.index}"
