"""Runs the studies in their order: what a later one holds, an earlier one found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kernels.calibrated import Contractions
from reports.calibrate.fit import Array, cross_validated, fit
from reports.calibrate.quality import Quality, by_regime, quality
from studies.crossvalidate import problems
from studies.crossvalidate.problems import Study


@dataclass(frozen=True)
class Result:
    """A study's constants, fitted on all rows, and its errors on rows not fitted: all, then by regime."""

    study: Study
    constants: Mapping[str, float]
    held_out: tuple[Quality, ...]

    @property
    def met(self) -> bool:
        return self.held_out[0].mape <= self.study.limit


def run(study: Study) -> Result:
    problem = study.problem
    predicted = cross_validated(problem, study.free)
    if predicted is None:
        raise ValueError(f"{problem.name}: too few rows to hold some out")
    constants = fit(problem, study.free, problem.every)
    found = by_regime(problem.name, study.m, predicted, problem.measured, held_out=True)
    return Result(study, {name: constants[name] for name in study.free}, tuple(found))


def everything() -> list[Result]:
    """About 20 s on two cores."""
    bf16 = run(problems.bf16())
    later = [problems.fp8(bf16.constants), problems.fp32(bf16.constants), problems.batched(bf16.constants)]
    return [bf16, *map(run, later), *(run(problems.stream(op)) for op in ("add", "mlp_act"))]


# A fit on one side of a border, judged on the other: what the form, and not the rows, knows.
BORDERS = (("m", 1024, True), ("m", 64, False), ("n", 4096, True), ("k", 4096, True))


def extrapolated(study: Study, work: Contractions) -> list[Quality]:
    """bf16, fitted on rows up to a border and judged beyond it, or the other way round."""
    problem, found = study.problem, []
    for dim, border, upwards in BORDERS:
        size: Array = getattr(work, dim)
        fitted, judged = (size <= border, size > border) if upwards else (size > border, size <= border)
        beyond = np.flatnonzero(judged)
        predicted = problem.predict(fit(problem, study.free, np.flatnonzero(fitted)), beyond)
        sides = f"{dim} ≤ {border}", f"{dim} > {border}"
        name, regime = sides if upwards else sides[::-1]
        found.append(quality(name, regime, predicted, problem.measured[beyond], held_out=True))
    return found
