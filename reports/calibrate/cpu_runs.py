"""A CPU's constants from its runs: what a call costs, then the rates of each kind of kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import ValidationError

from kernels.cost_model import roofline_s
from kernels.cpu_model import CpuModel, cpu_s, flops, kernel_name, operand_bytes
from kernels.gpus import Ceilings
from kernels.parts import Contraction, Stream
from kernels.registry import compute_precision
from reports.calibrate.fit import Array, Identified, Problem, Some, cross_validated, identify
from reports.calibrate.observations import CalibrationError, Observation, Runs, groups_of, seconds_of
from reports.calibrate.quality import Quality, by_name
from reports.calibrate.result import Fitted, error_text

CALL_S = 1e-5  # until short rows tell: PyTorch's dispatch and waking a second thread
LARGEST_ERROR = 0.75  # of a rate: without one of its own, a kernel is predicted by a ceiling that it may miss by a factor of ten
SHORT_S = 2e-6  # a row whose analytic time is less is mostly its call


def calibrate_cpu(runs: Runs) -> tuple[CpuModel, list[Fitted], list[Quality]]:
    """The constants that the runs tell, each fit, and how good the predictions are, by family. Raises CalibrationError."""
    ceilings = runs.ceilings
    base = ceilings.cpu_model or _unmeasured(runs)
    calls = _calls(runs, ceilings, base)
    fits = [calls] if calls else []
    call_s = calls.found.constants["call_s"] if calls else base.call_s
    rates: dict[str, dict[str, float]] = {c: dict(getattr(base, c)) for c in ("flops_per_s", "operand_bytes_per_s", "bytes_per_s")}
    by_kernel: dict[str, list[Observation]] = {}
    for o in runs.observations:
        if o.single is not None and _works(o):
            by_kernel.setdefault(kernel_name(o.point, o.single), []).append(o)
    for name, rows in by_kernel.items():
        problem = (
            _contraction(name, rows, rates, ceilings, call_s)
            if isinstance(rows[0].single, Contraction)
            else _stream(name, rows, rates, ceilings, call_s)
        )
        done = _fitted(problem, identify(problem))
        fits.append(done)
        for constant in done.found.fitted:
            rates[constant][name] = done.found.constants[constant]
    found = base.model_copy(update={**rates, "call_s": call_s, "fitted_on": f"{runs.source}: {len(runs.observations)} rows"})
    shown = judge(runs.observations, found, ceilings, held_out=False)
    return found.model_copy(update={"error": error_text(shown[0])}), fits, shown


def _unmeasured(runs: Runs) -> CpuModel:
    """A CPU of which nothing is known but its name and threads. Raises CalibrationError where the run does not tell them."""
    cpu = runs.environment.fields.get("cpu")
    told = cpu if isinstance(cpu, dict) else {}
    rates: dict[str, dict[str, float]] = {"flops_per_s": {}, "operand_bytes_per_s": {}, "bytes_per_s": {}}
    fields = {"cpu": told.get("model"), "threads": told.get("threads"), "call_s": CALL_S, "fitted_on": "no rows", "error": "not known"}
    try:
        return CpuModel.model_validate({**rates, **fields})
    except ValidationError as error:
        raise CalibrationError(f"{runs.paths[-1]}: environment.json does not name the CPU and its threads") from error


def judge(observations: Sequence[Observation], model: CpuModel, ceilings: Ceilings, held_out: bool) -> list[Quality]:
    """All points, then by op and precision."""
    predicted, _ = cpu_s([(o.point, o.parts) for o in observations], model, ceilings.peak_flops_per_s, ceilings.bandwidth_bytes_per_s)
    known = np.isfinite(predicted) & (predicted > 0)
    rows = [o for o, good in zip(observations, known, strict=True) if good]
    if not rows:
        raise CalibrationError("no row can be predicted: none of their precisions has a measured peak")
    predicted, measured = predicted[known], seconds_of(rows)
    every = by_name(["every point"] * len(rows), predicted, measured, held_out)
    return every + by_name([f"{o.point.op} {o.point.precision}" for o in rows], predicted, measured, held_out)


def _works(observation: Observation) -> bool:
    part = observation.single
    return isinstance(part, Contraction) or (isinstance(part, Stream) and part.bytes > 0)


def _calls(runs: Runs, ceilings: Ceilings, base: CpuModel) -> Fitted | None:
    """What a call costs, from rows that do next to nothing."""
    rows = [o for o in runs.observations if len(o.parts) <= 1 and _roofline_s(o, ceilings) <= SHORT_S]
    if not rows:
        return None
    least_s = np.array([_roofline_s(o, ceilings) for o in rows])

    def predict(constants: Mapping[str, float], some: Some) -> Array:
        return constants["call_s"] + least_s[some]

    problem = Problem("calls", {"call_s": base.call_s}, predict, seconds_of(rows), groups_of(rows))
    return _fitted(problem, identify(problem))


def _roofline_s(observation: Observation, ceilings: Ceilings) -> float:
    peak = ceilings.peak_flops_per_s.get(compute_precision(observation.point.op, observation.point.precision), np.nan)
    count = sum(flops(part) if isinstance(part, Contraction) else part.flops for part in observation.parts)
    return float(roofline_s(count, sum(part.bytes for part in observation.parts), peak, ceilings.bandwidth_bytes_per_s))


def _contraction(
    name: str, rows: Sequence[Observation], rates: Mapping[str, Mapping[str, float]], ceilings: Ceilings, call_s: float
) -> Problem:
    parts = [part for o in rows if isinstance(part := o.single, Contraction)]
    work, moved = np.array([flops(part) for part in parts], float), np.array([operand_bytes(part) for part in parts], float)
    peak = ceilings.peak_flops_per_s.get(rows[0].point.precision, float(np.median(work / seconds_of(rows))))
    present = {
        "flops_per_s": rates["flops_per_s"].get(name, peak),
        "operand_bytes_per_s": rates["operand_bytes_per_s"].get(name, ceilings.bandwidth_bytes_per_s),
    }

    def predict(constants: Mapping[str, float], some: Some) -> Array:
        return call_s + work[some] / constants["flops_per_s"] + moved[some] / constants["operand_bytes_per_s"]

    return Problem(name, present, predict, seconds_of(rows), groups_of(rows), LARGEST_ERROR)


def _stream(name: str, rows: Sequence[Observation], rates: Mapping[str, Mapping[str, float]], ceilings: Ceilings, call_s: float) -> Problem:
    moved = np.array([o.single.bytes for o in rows if o.single is not None], float)
    present = {"bytes_per_s": rates["bytes_per_s"].get(name, ceilings.bandwidth_bytes_per_s)}

    def predict(constants: Mapping[str, float], some: Some) -> Array:
        return call_s + moved[some] / constants["bytes_per_s"]

    return Problem(name, present, predict, seconds_of(rows), groups_of(rows), LARGEST_ERROR)


def _fitted(problem: Problem, found: Identified) -> Fitted:
    predicted = cross_validated(problem, found.fitted)
    shown = predicted if predicted is not None else problem.predict(found.constants, problem.every)
    return Fitted(
        problem.name,
        found,
        len(problem.measured),
        tuple(by_name([problem.name] * len(problem.measured), shown, problem.measured, predicted is not None)),
    )
