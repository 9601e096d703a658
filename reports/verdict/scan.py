"""Night by night over all series at once: which changes are confirmed, and in which night."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ruptures
from numpy.typing import NDArray
from scipy.special import stdtr
from scipy.stats import false_discovery_control

from reports.verdict.robust import Array, Mask, Spread, inflation, spread
from reports.verdict.rule import Rule

Index = NDArray[np.int64]
LEAST_NIGHTS = 2  # on each side of a step


@dataclass(frozen=True)
class Confirmed:
    """A change: confirmed in `night`, begun in `first`, the first night at the new level (both columns of what was scanned)."""

    series: int
    night: int
    first: int
    before_first: int  # the first night of the level before it
    window: int  # nights that confirmed it
    difference: float  # of log time, as seen when it was confirmed
    p: float
    q: float  # Benjamini-Hochberg over that night's series
    sigma: float  # standard deviation of a night about its level, log time


@dataclass(frozen=True)
class Tonight:
    """Of the last night, a value a series: NaN where it is not judged."""

    level: Array  # log time before tonight
    sigma: Array
    difference: Array  # tonight's distance from the level
    p: Array
    q: Array


@dataclass(frozen=True)
class Scan:
    """`judged`: [series, nights], where there was enough history for a verdict, and some change could have been confirmed.
    `unjudgeable`: the number of series of the last night that have enough nights and still cannot confirm any; `correlation` of one night
    with the next, as of that night."""

    confirmed: list[Confirmed]
    judged: Mask
    tonight: Tonight
    unjudgeable: int
    correlation: float


@dataclass(frozen=True)
class _Test:
    """Of the judged series of a night: the best window's."""

    p: Array
    difference: Array
    sigma: Array
    window: Index
    able: Mask  # a change of any size could have been confirmed
    correlation: float


class _Series:
    """The series, their nights moved together over gaps, and levelled over what is confirmed."""

    def __init__(self, values: Array, rule: Rule):
        self.rule = rule
        seen = ~np.isnan(values)
        self.order = np.argsort(~seen, axis=1, kind="stable")  # of each series, its nights in time, then those without a value
        self.dense = np.take_along_axis(values, self.order, axis=1)
        self.count = np.cumsum(seen, axis=1)  # values up to and with a night
        self.seen = seen
        self.start = np.zeros(len(values), dtype=np.int64)  # of the current level, in `dense`
        self.before = np.zeros(len(values), dtype=np.int64)  # of the level before

    def ready(self, night: int, window: int) -> Index:
        """Series that were measured in that night and have enough nights before the window."""
        count = self.count[:, night]
        enough = (count >= window + self.rule.least_base) & (count - window - self.start >= self.rule.least_segment)
        return np.flatnonzero(enough & self.seen[:, night])

    def window(self, night: int, window: int, rows: Index) -> tuple[Array, Spread]:
        """The last `window` nights as distances from the level of those before, and that level's spread."""
        back = self.count[rows, night][:, None] - 1 - np.arange(window + self.rule.base)
        values = self.dense[rows[:, None], np.maximum(back, 0)]
        base = np.where(back[:, window:] >= 0, values[:, window:], np.nan)
        current = back[:, window:] >= self.start[rows][:, None]
        base_spread = spread(base, current, self.rule.apart, self.rule.floor, self.rule.most_prior)
        return values[:, :window] - base_spread.level[:, None], base_spread

    def settle(self, row: int, night: int, window: int, difference: float, sigma: float) -> tuple[int, int]:
        """Takes note of a confirmed change: where it began and where the level before it did, in nights."""
        end = int(self.count[row, night])
        begin = max(self.start[row], end - window - self.rule.base)
        level = float(np.median(self.dense[row, begin : end - window]))
        at = begin + first_night(self.dense[row, begin:end], level, difference, sigma)
        self.dense[row, at:] -= difference
        before, self.start[row] = int(self.start[row]), at
        return int(self.order[row, at]), int(self.order[row, before])


def first_night(values: Array, level: float, difference: float, sigma: float, apart: float = 3.0) -> int:
    """The index of the first night after the one step in `values`, log time without gaps, from `level` to `level + difference`.

    Outliers beyond `apart` standard deviations outside the two levels are cut to that first: a step is what many nights agree on.
    """
    low, high = min(level, level + difference) - apart * sigma, max(level, level + difference) + apart * sigma
    found = ruptures.KernelCPD(kernel="linear", min_size=LEAST_NIGHTS).fit(np.clip(values, low, high)).predict(n_bkps=1)
    return int(found[0])


def scan(values: Array, thresholds: Array, rule: Rule) -> Scan:
    """values: log time [series, nights], NaN where absent; thresholds: of each series, the least change of log time that matters.

    A verdict of a night rests on that night and those before it alone, so what was confirmed stays so as nights are added. A change is
    confirmed once.
    """
    series = _Series(values, rule)
    judged = np.zeros(values.shape, dtype=bool)
    confirmed: list[Confirmed] = []
    tonight = Tonight(*(np.full(len(values), np.nan) for _ in range(5)))
    for night in range(values.shape[1]):
        test = _test(series, night, thresholds)
        judged[:, night] = ~np.isnan(test.p) & test.able
        q = _adjusted(test.p)
        hits = (test.p <= rule.alpha) & ((np.count_nonzero(judged[:, night]) <= rule.fdr_above) | (q <= rule.fdr))
        if night == values.shape[1] - 1:
            tonight = _tonight(series, night, test.p, q)
        for row in map(int, np.flatnonzero(hits)):
            window, difference, sigma = int(test.window[row]), float(test.difference[row]), float(test.sigma[row])
            first, before = series.settle(row, night, window, difference, sigma)
            found = Confirmed(int(row), night, first, before, window, difference, float(test.p[row]), float(q[row]), sigma)
            confirmed.append(found)
    unjudgeable = int(np.count_nonzero(~np.isnan(test.p) & ~test.able)) if values.shape[1] else 0
    return Scan(confirmed, judged, tonight, unjudgeable, test.correlation if values.shape[1] else 0.0)


def _test(series: _Series, night: int, thresholds: Array) -> _Test:
    """A value a series; p is NaN where it is not judged, and 1 where the change would not matter or the nights disagree."""
    count, rule = len(thresholds), series.rule
    nan = np.full(count, np.nan)
    best = _Test(nan, nan.copy(), nan.copy(), np.zeros(count, dtype=np.int64), np.zeros(count, dtype=bool), 0.0)
    correlation = 0.0
    for window, share in rule.windows:
        rows = series.ready(night, window)
        if not len(rows):
            continue
        away, base = series.window(night, window, rows)
        middle = np.median(away, axis=1)
        together = np.abs(away - middle[:, None]) <= rule.apart * base.sigma[:, None]
        number = np.count_nonzero(together, axis=1)
        difference = np.where(together, away, 0.0).sum(axis=1) / np.maximum(number, 1)
        matters = (number >= rule.agreeing(window)) & (np.abs(difference) > thresholds[rows]) & (base.nights > 0)
        limit = rule.limit * base.sigma[:, None]
        bounded = np.where(together, np.clip(away, -limit, limit), 0.0).sum(axis=1) / np.maximum(number, 1)
        error = base.sigma * np.sqrt(_variance(number, base.correlation) + _variance(base.nights, base.correlation))
        least = base.sigma * np.sqrt(_variance(np.full(len(rows), window), base.correlation) + _variance(base.nights, base.correlation))
        best.able[rows] |= 2 * stdtr(base.freedom, -limit[:, 0] / least) / share <= rule.alpha
        correlation = max(correlation, base.correlation)
        p = np.ones(len(rows))
        p[matters] = np.minimum(2 * stdtr(base.freedom[matters], -np.abs(bounded[matters]) / error[matters]) / share, 1.0)
        better = ~(p >= best.p[rows])  # so that any number is better than NaN
        chosen = rows[better]
        best.p[chosen], best.difference[chosen] = p[better], difference[better]
        best.sigma[chosen], best.window[chosen] = base.sigma[better], window
    return replace(best, correlation=correlation)


def _variance(nights: NDArray[Any], correlation: float) -> Array:
    """Of the mean of so many nights, in units of a night's."""
    number = np.maximum(nights, 1).astype(float)
    return inflation(number, correlation) / number


def _adjusted(p: Array) -> Array:
    """Benjamini-Hochberg's q of each p; NaN stays."""
    q = np.full(len(p), np.nan)
    known = ~np.isnan(p)
    if known.any():
        q[known] = false_discovery_control(p[known])
    return q


def _tonight(series: _Series, night: int, p: Array, q: Array) -> Tonight:
    """How far the last night alone lies from the nights before it. To be called before its changes are settled."""
    level, sigma, difference = (np.full(len(p), np.nan) for _ in range(3))
    rows = series.ready(night, 1)
    if len(rows):
        away, base = series.window(night, 1, rows)
        level[rows], sigma[rows], difference[rows] = base.level, base.sigma, away[:, 0]
    return Tonight(level, sigma, difference, p, q)
