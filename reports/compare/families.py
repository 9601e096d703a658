"""Geometric means by op, implementation and precision: many small changes that no pair shows by itself may show in their mean. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.compare.noise import TAIL_DF, Assumed, freedom, replicated, two_sided
from reports.compare.pair_verdicts import LEVEL, called
from reports.distributions import false_discovery_q, t_quantile

KEYS = ["op", "impl", "precision"]
ALL = "all"


@dataclass(frozen=True)
class Family:
    """Geometric mean of the ratios that can be trusted, of one op, implementation and precision; NaN where there is none."""

    op: str
    impl: str
    precision: str
    pairs: int
    trusted: int  # that the mean is over
    ratio: float
    low: float
    high: float
    verdict: str  # of the mean; empty for all pairs together
    verdicts: Mapping[str, int]  # of its pairs


@dataclass(frozen=True)
class Mean:
    """Of logarithms of ratios; NaN where there is none."""

    value: float
    error: float
    df: float

    def interval(self) -> tuple[float, float]:
        reach = float(t_quantile((1 + LEVEL) / 2, self.df)) * self.error
        return self.value - reach, self.value + reach

    def p(self) -> float:
        return float(two_sided(np.array([self.value]), np.array([self.error]), np.array([self.df]))[0])


def families(pairs: pd.DataFrame, assumed: Assumed) -> list[Family]:
    """Those that changed first; and last all pairs together where there are several families.

    The rule is that of pairs. The interval is of the mean over just these points: other shapes may differ. What moves a whole run does
    not average out.
    """
    groups = {tuple(map(str, key)): group for key, group in pairs.groupby(KEYS, sort=True)}
    means = {key: mean(group, assumed) for key, group in groups.items()}
    known = [key for key in means if not math.isnan(means[key].value)]
    q = dict(zip(known, false_discovery_q([means[key].p() for key in known]) if known else [], strict=True))
    found = []
    for key, group in groups.items():
        verdict = (
            called(means[key].value, *means[key].interval(), q[key], assumed, bool(group["single"].any()))[0] if key in q else "unclear"
        )
        found.append(_family(key, group, means[key], verdict))
    found.sort(key=lambda family: family.verdict not in ("slower", "faster"))
    return [*found, _family((ALL, "", ""), pairs, mean(pairs, assumed), "")] if len(found) > 1 else found


def mean(pairs: pd.DataFrame, assumed: Assumed) -> Mean:
    """Of the pairs that can be trusted; pairs: as reports.compare.pair_verdicts.judge makes them."""
    trusted = pairs[pairs["doubt"] == ""]
    n = len(trusted)
    if n == 0:
        return Mean(math.nan, math.nan, math.inf)
    if (trusted[["runs_a", "runs_b"]].max(axis=1) > 1).all():
        return _of_runs(trusted)
    own, common = np.array([trusted["own_var"].sum() / n**2]), np.array([2 * assumed.common**2])
    df = freedom({"own": (own, np.array([float(TAIL_DF)])), "common": (common, np.array([np.inf]))})
    return Mean(float(trusted["log_ratio"].mean()), math.sqrt(float(own[0] + common[0])), float(df[0]))


def _of_runs(pairs: pd.DataFrame) -> Mean:
    """Of pairs with several runs. Points of a family move together from run to run, so that the spread is that of the runs' means."""
    runs = []
    for medians in (pairs["medians_a"], pairs["medians_b"]):
        whole = medians[medians.str.len() == medians.str.len().max()]  # in every run: means over different points are no spread
        runs.append(np.log(np.array(whole.tolist())).mean(axis=0))
    variance, df = replicated([np.exp(runs[0])], [np.exp(runs[1])])
    return Mean(float(pairs["log_ratio"].mean()), math.sqrt(variance[0]), float(df[0]))


def _family(key: tuple[str, ...], pairs: pd.DataFrame, of: Mean, verdict: str) -> Family:
    op, impl, precision = key
    low, high = map(math.exp, of.interval())
    counts = {str(name): count for name, count in pairs["verdict"].value_counts().items()}
    return Family(op, impl, precision, len(pairs), int((pairs["doubt"] == "").sum()), math.exp(of.value), low, high, verdict, counts)
