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
from benches.timing.measure import measure
from kernels.imports import load_imports
from kernels.op import Point


class Bench:
    """Opens the device of a kind. Raises NoDevice.

    asked: fields of Settings that differ from the device's own. described, generation, gpu: as open_device has them. imports: other
    people's files and modules, which are loaded once the device is open: raises ImportProblem. shared: whether other GPUs measure into
    the same run directory.
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
    ):
        self.device = open_device(kind, described, generation, gpu)  # first: it takes its clocks, which imported code could replace
        load_imports(imports)
        self.device.settings = replace(self.device.settings, **asked)
        self._seed, self._run_dir = seed, run_dir
        self._sentinels = Sentinels(self.device, run_dir, seed, part=part_of(gpu) if gpu and shared else "")

    def row_of(self, point: Point, timing: bool) -> Row:
        """The sentinels first, if it is time for them."""
        if timing:
            self._tick()
        return measure(point, self.device, self._seed, timing, partial(keep_error, self._run_dir))

    def _tick(self) -> None:
        try:
            self._sentinels.tick()
        except Exception:  # a sentinel that fails costs no point; the log says why
            traceback.print_exc(file=sys.stderr)


def part_of(gpu: NodeGpu) -> str:
    """Returns what the files of one GPU are called in a run directory that several share."""
    return f"gpu{gpu.index}"
