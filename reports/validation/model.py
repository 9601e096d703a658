"""The rows beside the cost model: how far its predictions are off, and the constants that `calibrate` fits to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benches.first_contact.check import Check, within
from benches.row import Status
from kernels.calibrated import Calibration
from kernels.gpus import Gpu
from reports.calibrate.gpu_runs import calibrate_gpu, judge_gpu
from reports.calibrate.observations import CalibrationError, Runs, load_runs
from reports.calibrate.quality import Quality
from reports.calibrate.result import Fitted

STEP = "cost model"
IMPL = "torch"  # whose kernels the constants stand for
STATUSES: tuple[Status, ...] = ("ok", "noisy")  # short settings leave most rows noisy, by percents
LARGEST_ERROR = 0.35  # mean absolute, of a family: beyond that a plan is of no use


@dataclass(frozen=True)
class Fit:
    """Predictions by the shipped constants, and what the rows would change."""

    qualities: Sequence[Quality]
    fits: Sequence[Fitted]
    shipped: Calibration


def fit(path: Path) -> Fit | str:
    """The fit to a run's rows, or why there is none."""
    try:
        runs = load_runs([path], IMPL, STATUSES)
        gpu = runs.ceilings
    except CalibrationError as error:
        return str(error)
    if not isinstance(gpu, Gpu) or gpu.model is None:
        return "the board has no constants in configs/gpus"
    return _fit(runs, gpu, gpu.model)


def _fit(runs: Runs, gpu: Gpu, shipped: Calibration) -> Fit:
    _, fits, _ = calibrate_gpu(runs, gpu, shipped)
    return Fit([q for q in judge_gpu(runs.observations, gpu, shipped) if q.regime == "all"], fits, shipped)


def judge(found: Fit) -> list[Check]:
    """A check for each op and precision: the mean absolute error of the shipped constants' predictions."""
    return [
        within(STEP, f"{q.name}: predicted by the shipped constants, {q.rows} rows", 100 * q.mape, "% off", 0.0, 100 * LARGEST_ERROR)
        for q in found.qualities
    ]


def constants(found: Fit) -> list[tuple[str, str, float, float | None, str]]:
    """(fit, constant, shipped, fitted or None, why not)."""
    rows = []
    for one in found.fits:
        refused = {refusal.name: refusal.why for refusal in one.found.refused}
        for name, value in one.found.constants.items():
            shipped = shipped_value(found.shipped, one.name, name)
            if shipped is not None:
                rows.append((one.name, name, shipped, None if name in refused else value, refused.get(name, "")))
    return rows


def shipped_value(shipped: Calibration, name: str, constant: str) -> float | None:
    """What configs/gpus has for a constant of a fit named "matmul bf16", "batched bf16" or "streams"."""
    kind, _, precision = name.partition(" ")
    part = {"matmul": shipped.matmul_for(precision), "batched": shipped.batched, "streams": shipped.stream}.get(kind)
    value = getattr(part, constant, None)
    return float(value) if isinstance(value, int | float) else None
