"""How far the medians of two runs of the same code may lie apart. Pure.

Three things part them, and the logarithms of a ratio's variances add up:

- within a run: a median is known to within its interval, of each of the two;
- between runs: memory layout, clocks and neighbours of the moment differ, and no sample of one run shows it. What all pairs show after
  their median shift is removed is mostly this, so it is estimated from them, robustly: a few real changes do not count;
- what moves a whole run: two runs hold one draw of it each, which no number of pairs can tell from a change. It is assumed.

A point measured in several processes (`--processes`) shows the first two itself, one measured in several runs all three.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtri

from benches.timing.interval import Z
from reports.distributions import robust_deviation, t_above
from reports.verdict.robust import Prior, prior, shrink_variances

TAIL_DF = 4  # of Student's t for what differs between runs: now and then far more than a normal would
PRIOR_PAIRS = 8  # that an assumed spread counts for, beside those seen
FLOOR = 5e-4  # least standard deviation of a median between runs that is believed: clocks have steps
MOST_PRIOR = 20.0  # degrees of freedom that the other pairs' spread may weigh at most; this and the next two: test_compare_noise.py
LEAST_FREE = 4  # degrees of freedom of a pair from which it says how much pairs differ in their spread
LEAST_PRIOR = 4.0  # below this the pairs differ too widely to say anything of each other: plain t, whatever they are
ENOUGH = 4  # pairs of a family and size for a median of their own
SIZES = ((10e-6, "under 10 µs"), (1e-3, "10 µs to 1 ms"), (0.1, "1 ms to 0.1 s"), (math.inf, "over 0.1 s"))  # upper limits


@dataclass(frozen=True)
class Assumed:
    """What a kind of device is taken for; relative figures. `threshold` is what counts as a change in practice."""

    threshold: float
    between: float  # standard deviation of a median from run to run, before any pair is seen
    common: float  # standard deviation of what moves a whole run
    alone: float  # ratio below which one run a side calls nothing: some points differ so much between runs, and no single run shows which
    overwhelming: float  # ratio beyond which even a median that did not settle says enough; infinite: it never does


# A GPU's: 1 to 2% from night to night, 0.4% of a whole node. A CPU's: runs of the same code on a shared one (docs/aa.md), where a core
# that others take has made medians two hundred times as long, with no sample near those of an idle machine: there nothing overwhelms.
GPU = Assumed(threshold=0.03, between=0.01, common=0.004, alone=1.0, overwhelming=2.0)
CPU = Assumed(threshold=0.10, between=0.05, common=0.02, alone=2.0, overwhelming=math.inf)


@dataclass(frozen=True)
class Spread:
    """Between runs, of the logarithm of a ratio: what the pairs of a family and size show, and what is used."""

    op: str
    size: str
    pairs: int  # that it is estimated from
    seen: float  # standard deviation, robust; NaN where no pair shows it
    used: float


def size_class(median_s: float) -> str:
    """Short points wait for launches, long ones for clocks: they differ from run to run by different amounts."""
    return next(name for limit, name in SIZES if median_s < limit)


def within(ci_low_s: float, ci_high_s: float, samples: int) -> float:
    """Standard error of the logarithm of a row's median.

    Its interval reaches Z standard errors either way, or to the extremes of few samples: of n, those hold the median with
    probability 1 − 2^(1−n). NaN where the row has no interval.
    """
    if samples < 2 or not ci_high_s >= ci_low_s > 0:
        return math.nan
    return math.log(ci_high_s / ci_low_s) / 2 / min(Z, float(ndtri(1 - 0.5 ** min(samples, 50))))


def replicated(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Variance of the logarithm of each pair's ratio of geometric means, and its degrees of freedom; NaN and 0 for one median each.

    a, b: by pair, each side's medians, of several runs or processes. Both sides of a pair are taken to spread alike; over pairs the
    spread is moderated (Smyth 2004): where they are about as noisy as each other, each borrows what the others know.
    """
    counts = np.array([[len(x), len(y)] for x, y in zip(a, b, strict=True)]).reshape(-1, 2)
    free = counts.sum(axis=1) - 2
    squares = np.array([_squares(x) + _squares(y) for x, y in zip(a, b, strict=True)])
    with np.errstate(invalid="ignore", divide="ignore"):
        own = np.where(free > 0, squares / free, np.nan)
    variance, df = np.full(len(free), np.nan), np.zeros(len(free))
    some = free > 0
    if some.any():
        variances, freedoms = np.maximum(own[some], FLOOR**2), free[some].astype(float)
        typical = prior(variances[freedoms >= LEAST_FREE], freedoms[freedoms >= LEAST_FREE], MOST_PRIOR)
        variance[some], df[some] = shrink_variances(variances, freedoms, typical if typical.freedom >= LEAST_PRIOR else Prior(0.0, 0.0))
    return variance * (1 / counts).sum(axis=1), df


def _squares(medians: Sequence[float]) -> float:
    logs = np.log(medians)
    return float(((logs - logs.mean()) ** 2).sum())


def spreads(pairs: pd.DataFrame, assumed: Assumed) -> dict[Hashable, Spread]:
    """By (op, size), of pairs with one median each. pairs: op, impl, size, log_ratio, within_var, single, and `seen`: those to estimate
    from.

    Each implementation's median shift is removed first, so that one that changed as a whole is not taken for noise. A family's own
    estimate counts for its pairs, that of all families for PRIOR_PAIRS more; and theirs leans on the device's in the same way. So a few
    pairs neither claim to know their spread nor lose what they know of it.
    """
    pairs = pairs[pairs["single"]]
    seen = pairs[pairs["seen"]]
    whole = seen.groupby(["op", "impl", "size"])["log_ratio"]
    size = whole.transform("size")
    many = size >= ENOUGH
    residuals = pd.DataFrame(
        {
            "residual": seen["log_ratio"] - whole.transform("median").where(many, seen["log_ratio"].median()),
            "within_var": seen["within_var"],
            "spent": (1 / size).where(many, 1 / max(1, len(seen))),  # of a median, a pair's share
        }
    )
    everywhere = _lean(residuals, _variance(residuals), 2 * assumed.between**2)
    found: dict[Hashable, Spread] = {}
    for key, group in pairs.groupby(["op", "size"], sort=True):
        mine = residuals.loc[residuals.index.intersection(group.index)]
        op, sizes = map(str, key)
        own = _variance(mine)
        found[key] = Spread(op, sizes, len(mine), math.sqrt(own), math.sqrt(_lean(mine, own, everywhere)))
    return found


def _variance(residuals: pd.DataFrame) -> float:
    """Between runs: what the residuals show beyond what is known within a run, the medians' shares paid back. NaN for too few."""
    n, free = len(residuals), _free(residuals)
    if free < 1:
        return math.nan
    scale = robust_deviation(residuals["residual"])
    return max(0.0, scale**2 * n / free - float(residuals["within_var"].median()))


def _free(residuals: pd.DataFrame) -> float:
    return len(residuals) - float(residuals["spent"].sum())


def _lean(residuals: pd.DataFrame, own: float, prior: float) -> float:
    """The residuals' own variance, shrunk toward a prior one: the more, the fewer they are."""
    weight = _free(residuals)
    return prior if math.isnan(own) else (own * weight + prior * PRIOR_PAIRS) / (weight + PRIOR_PAIRS)


def two_sided(log_ratio: np.ndarray, error: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Probability of a ratio at least so far from 1, either way, where nothing changed; NaN where the error is not known."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return 2 * t_above(np.abs(log_ratio) / error, freedom)


def freedom(parts: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Degrees of freedom of a sum of variances (variance, its degrees of freedom): Welch and Satterthwaite's."""
    total = sum(variance for variance, _ in parts.values())
    squares = sum(variance**2 / df for variance, df in parts.values())
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(squares > 0, total**2 / squares, np.inf)
