"""Constants from measured times: least squares on log ratios, cross-validation by groups, and which constants the rows can tell.

A prediction's error is a ratio, so residuals are log(predicted / measured); timings have outliers, so their loss is a soft L1; and
constants are positive, so the search is over their logarithms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Some = NDArray[np.intp]

FOLDS = 5
ROWS_A_CONSTANT = 4  # to hold rows out, a fit needs so many for each of its constants
LARGEST_ERROR = 0.25  # standard error of a constant, relative: one less well known than that is refused, unless a problem says otherwise
NOISE = 0.03  # least spread of a residual: what is measured again differs by as much, however well a fit passes through its rows
FELT = 0.02  # a row feels a constant where 1% of it changes the time by at least FELT of 1%
SOFT = 0.05  # residual at which the loss turns from squares to absolute values
STEP = 1e-2  # of a logarithm, for derivatives: the best tile changes in between, and a smaller step would miss it
SMALLEST = 1e-12  # a constant of 0 has no logarithm
BOUNDS = {
    "norm": (1.0, 20.0),  # 1: costs add up, none hides another; above 20 the norm is the maximum
    "bandwidth_fraction": (0.0, 0.98),  # outputs left in the L2 would have a fit promise more than the bandwidth
}


@dataclass(frozen=True)
class Problem:
    """Measured rows, and a model of them: predict(constants, indices of rows) → seconds."""

    name: str
    present: Mapping[str, float]  # every constant's value so far, the most telling first: where the search begins, what a refused one keeps
    predict: Callable[[Mapping[str, float], Some], Array]
    measured: Array  # s
    group: NDArray[np.intp]  # rows of one group are held out together
    largest_error: float = LARGEST_ERROR

    @property
    def every(self) -> Some:
        return np.arange(len(self.measured))


@dataclass(frozen=True)
class Refusal:
    """A constant that the rows cannot tell."""

    name: str
    kept: float
    why: str


@dataclass(frozen=True)
class Identified:
    """All of a problem's constants, those refused at their present values."""

    constants: Mapping[str, float]
    fitted: tuple[str, ...]
    refused: tuple[Refusal, ...]


def fit(problem: Problem, free: Sequence[str], some: Some) -> dict[str, float]:
    """All constants, the `free` ones as they fit some of the rows best."""
    from scipy.optimize import least_squares  # half a second that no other command needs

    if not free:
        return dict(problem.present)

    def constants(logs: Array) -> dict[str, float]:
        return {**problem.present, **dict(zip(free, map(float, np.exp(logs)), strict=True))}

    def residuals(logs: Array) -> Array:
        return np.log(problem.predict(constants(logs), some) / problem.measured[some])

    limits = np.array([BOUNDS.get(name, (0.0, np.inf)) for name in free])
    with np.errstate(divide="ignore"):  # the logarithm of 0 is no bound
        low, high = np.log(limits.T)
    start = np.clip(np.log([max(problem.present[name], SMALLEST) for name in free]), low + STEP, high - STEP)
    found = least_squares(residuals, start, bounds=(low, high), loss="soft_l1", f_scale=SOFT, diff_step=1e-3, max_nfev=100)
    return constants(found.x)


def cross_validated(problem: Problem, free: Sequence[str]) -> Array | None:
    """Seconds of every row by the fit of the folds that do not hold it, (N,); None where there are too few rows or groups."""
    groups = problem.group.max(initial=-1) + 1
    if groups < FOLDS or len(problem.measured) < ROWS_A_CONSTANT * len(free):
        return None
    fold = np.random.default_rng(0).permutation(groups)[problem.group] % FOLDS
    out = np.empty(len(problem.measured))
    for f in range(FOLDS):
        out[fold == f] = problem.predict(fit(problem, free, np.flatnonzero(fold != f)), np.flatnonzero(fold == f))
    return out


def identify(problem: Problem) -> Identified:
    """Fits all constants, then again without one that is not known well enough, until there is none: of several, the least telling goes."""
    free, refused = list(problem.present), []
    constants = dict(problem.present)
    while free:
        constants = fit(problem, free, problem.every)
        sensitivity = _sensitivity(problem, constants, free)
        errors, correlation = _errors(problem, constants, sensitivity)
        unknown = [i for i in range(len(free)) if errors[i] > problem.largest_error]
        if not unknown:
            break
        why = _why(free, unknown[-1], sensitivity, errors[unknown[-1]], correlation)
        name = free.pop(unknown[-1])
        refused.append(Refusal(name, problem.present[name], why))
        constants = dict(problem.present)
    return Identified(constants, tuple(free), tuple(refused))


def _sensitivity(problem: Problem, constants: Mapping[str, float], free: Sequence[str]) -> Array:
    """∂ log seconds / ∂ log constant, (rows, constants)."""

    def logs(name: str, step: float) -> Array:
        return np.log(problem.predict({**constants, name: constants[name] * np.exp(step)}, problem.every))

    return np.stack([(logs(name, STEP) - logs(name, -STEP)) / (2 * STEP) for name in free], axis=1)


def _errors(problem: Problem, constants: Mapping[str, float], sensitivity: Array) -> tuple[Array, Array]:
    """Relative standard error of each constant, and how the errors go together: from the covariance spread² · (JᵀJ)⁻¹."""
    rows, count = sensitivity.shape
    residuals = np.log(problem.predict(constants, problem.every) / problem.measured)
    spread = max(NOISE, 1.4826 * float(np.median(np.abs(residuals))))  # of a normal distribution, by its median
    spread *= np.sqrt(rows / max(rows - count, 1))
    information = sensitivity.T @ sensitivity
    covariance = spread**2 * np.linalg.inv(information + 1e-9 * np.eye(count))  # what no row feels would have no inverse
    errors = np.sqrt(np.diag(covariance))
    return errors, covariance / np.outer(errors, errors)


def _why(free: Sequence[str], which: int, sensitivity: Array, error: float, correlation: Array) -> str:
    rows = len(sensitivity)
    felt = int((np.abs(sensitivity[:, which]) >= FELT).sum())
    if felt == 0:
        return f"none of {rows} rows depends on it"
    known = f"and determine it to ±{error:.0%}" if error < 10 else "but do not determine it"
    others = np.where(np.arange(len(free)) == which, 0.0, np.abs(correlation[which]))
    twin = int(np.argmax(others))
    together = (
        f", and its effect cannot be separated from that of {free[twin]} (correlation {others[twin]:.2f})" if others[twin] > 0.8 else ""
    )
    return f"{felt} of {rows} rows depend on it {known}{together}"
