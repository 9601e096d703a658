"""`python -m reports calibrate RUN_DIR … [-o FILE] [--gpu NAME|PATH] [--judge RUN_DIR]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from benches.row import Status
from kernels.console import open_console
from kernels.gpus import DEFAULT_GPU, Gpu, GpuError, find_gpu, load_gpu
from reports.calibrate.calibration_text import quality_table, refusals, show
from reports.calibrate.cpu_runs import calibrate_cpu, judge
from reports.calibrate.gpu_runs import calibrate_gpu, judge_gpu
from reports.calibrate.observations import CalibrationError, Runs, load_runs
from reports.calibrate.quality import Quality
from reports.calibrate.result import Fitted
from reports.calibrate.write import cpu_yaml, gpu_yaml, write
from reports.refusal import writing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", type=Path, nargs="+", metavar="RUN_DIR", help="runs on one device; their rows are taken together")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="where the constants go (calibration.yaml in the last RUN_DIR)")
    parser.add_argument(
        "--gpu",
        metavar="NAME|PATH",
        help="the GPU file that describes the device, by name or path, where the board's name does not identify it",
    )
    parser.add_argument("--impl", default="torch", metavar="NAME", help="the implementation whose rows are used (torch)")
    parser.add_argument("--noisy", action="store_true", help="also use rows whose median did not converge, as on a shared machine")
    parser.add_argument("--judge", type=Path, action="append", default=[], metavar="RUN_DIR", help="also predict this run; may be repeated")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Exit code 2 for runs that nothing can be fitted to, and a line that says why."""
    statuses: tuple[Status, ...] = ("ok", "noisy") if given.noisy else ("ok",)
    try:
        runs = load_runs(given.run_dir, given.impl, statuses)
        others = [load_runs([path], given.impl, statuses) for path in given.judge]
        gpu = _gpu(runs, given.gpu)
        made = _calibrate_cpu(runs, others) if gpu is None else _calibrate_gpu(runs, gpu, others)
    except (CalibrationError, GpuError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    out = given.out or given.run_dir[-1] / "calibration.yaml"
    with writing(out):
        write(made.text, out)
    show(made.shown, open_console())
    print(f"predictions use these constants once the file is {made.used}")
    print(out)
    return 0


def _gpu(runs: Runs, name: str | None) -> Gpu | None:
    """The GPU that the runs were made on; None for a CPU."""
    kind = runs.environment.kind
    if kind == "cpu":
        if name:
            raise CalibrationError(f"{runs.paths[-1]} was measured on a CPU, not on {name}")
        return None
    if name:
        return find_gpu(name)
    if not isinstance(runs.ceilings, Gpu):
        raise CalibrationError(f"{runs.paths[-1]}: the device is not known; name it with --gpu")
    return runs.ceilings


@dataclass(frozen=True)
class Calibrated:
    """The constants as YAML, the file from which predictions read them, and the tables and lines to print."""

    text: str
    used: str
    shown: Sequence[Table | str]


def _calibrate_cpu(runs: Runs, others: list[Runs]) -> Calibrated:
    model, fits, qualities = calibrate_cpu(runs)
    judged = [quality_table(f"and on {other.source}", judge(other.observations, model, other.ceilings, held_out=True)) for other in others]
    return Calibrated(cpu_yaml(model), "in configs/cpus/, under any name", [*_fit(runs, qualities, fits), *judged])


def _calibrate_gpu(runs: Runs, gpu: Gpu, others: list[Runs]) -> Calibrated:
    # A GPU without constants begins with the default GPU's.
    present = gpu.model or load_gpu(DEFAULT_GPU).model
    if present is None:
        raise CalibrationError(f"neither {gpu.name} nor {DEFAULT_GPU} has constants to begin with")
    model, fits, qualities = calibrate_gpu(runs, gpu, present)
    judged = [quality_table(f"and on {other.source}", judge_gpu(other.observations, gpu, model)) for other in others]
    return Calibrated(gpu_yaml(gpu, model, runs.source), f"configs/gpus/{gpu.name}.yaml", [*_fit(runs, qualities, fits), *judged])


def _fit(runs: Runs, qualities: Sequence[Quality], fits: Sequence[Fitted]) -> list[Table | str]:
    """How good the fit is, which constants were refused, and which rows were left out."""
    return [quality_table(f"fitted to {runs.source}", qualities), *refusals(fits), *runs.left_out]
