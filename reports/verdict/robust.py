"""Location and spread of many short series at once, with outlier nights left out. Absent nights are NaN."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, fdtri, ndtr, zeta  # scipy.stats' distributions take a hundred times as long for a few values

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
TO_SIGMA = 1.4826  # standard deviation of a normal distribution over its median absolute deviation
MAD_EFFICIENCY = 0.4  # a MAD of n values is as good as a standard deviation of 0.4 n
TRIM_EFFICIENCY = 0.9
UNLIKELY = 0.01  # probability, among the other series' variances, from which one is a case of its own
POOLED = 2000  # series tell their correlation well enough


class Spread(NamedTuple):
    """Of each series: its level, how many nights that rests on, its standard deviation and that one's degrees of freedom."""

    level: Array
    nights: Array
    sigma: Array
    freedom: Array
    correlation: float  # of one night with the next, over all series


class Prior(NamedTuple):
    """What the other series say of a variance: its typical value, and how many nights of a series' own that weighs."""

    variance: float
    freedom: float


def medians(values: Array) -> Array:
    """Median of each row, NaN apart; NaN for a row of nothing else. Several times as fast as numpy.nanmedian on short rows."""
    count = np.count_nonzero(~np.isnan(values), axis=1)
    full = count == values.shape[1]
    found = np.empty(len(values))
    found[full] = np.median(values[full], axis=1) if values.shape[1] else np.nan
    some = np.sort(values[~full], axis=1)  # NaN last
    rows, number = np.arange(len(some)), count[~full]
    upper, lower = np.minimum(number // 2, values.shape[1] - 1), np.maximum((number - 1) // 2, 0)
    found[~full] = (some[rows, lower] + some[rows, upper]) / 2
    return found


def prior(variances: Array, freedom: Array, most: float, least_series: int = 10) -> Prior:
    """The inverse-chi-squared prior of limma's moderated t (Smyth 2004, section 6.2), by median and MAD rather than by moments.

    Where series are all as noisy as each other it weighs `most` nights; where they differ widely, next to none.
    """
    known = variances > 0
    if np.count_nonzero(known) < least_series:
        return Prior(0.0, 0.0)
    half, which = np.unique(freedom[known] / 2, return_inverse=True)  # few values: the special functions are dear
    logs = np.log(variances[known]) - (digamma(half) - np.log(half))[which]
    middle = np.median(logs)
    excess = (TO_SIGMA * np.median(np.abs(logs - middle))) ** 2 - np.mean(trigamma(half)[which])
    weight = most if excess <= 0 else min(most, 2 * _inverse_trigamma(float(excess)))
    return Prior(float(np.exp(middle + digamma(weight / 2) - np.log(weight / 2))), weight)


def trigamma(x: Array | float) -> Array:
    """The second derivative of log gamma, for positive x (NIST Handbook of Mathematical Functions, 5.15.1)."""
    return zeta(2, x)


def _inverse_trigamma(value: float) -> float:
    """Newton's method on 1 / trigamma (Smyth 2004, appendix)."""
    if value > 1e7:
        return 1 / np.sqrt(value)
    x = 0.5 + 1 / value
    for _ in range(20):
        at = float(trigamma(x))
        x += at * (1 - at / value) / (-2 * float(zeta(3, x)))
    return x


def shrink_variances(variances: Array, freedom: Array, typical: Prior) -> tuple[Array, Array]:
    """Variances pulled towards the typical one, and their degrees of freedom. One that is larger than the others make likely is taken as
    it is: pulled, a noisy series among quiet ones would alarm night after night (limma's robust variant, Phipson 2016)."""
    weight = np.full(len(variances), typical.freedom)
    if typical.freedom > 0:
        free, which = np.unique(freedom, return_inverse=True)
        weight[variances > typical.variance * fdtri(free, typical.freedom, 1 - UNLIKELY)[which]] = 0.0
    total = weight + freedom
    return (weight * typical.variance + freedom * variances) / total, total


def moderated(variances: Array, freedom: Array, most: float) -> tuple[Array, Array]:
    """Variances pulled towards what the series have in common, and their degrees of freedom."""
    return shrink_variances(variances, freedom, prior(variances, freedom, most))


def spread(base: Array, current: Mask, apart: float, floor: float, most: float) -> Spread:
    """base: [series, nights], levelled over earlier changes; current: the nights since the last of these, on which the level rests.

    Nights further than `apart` standard deviations from the median are left out of both.
    """
    centre = medians(base)[:, None]
    count = np.count_nonzero(~np.isnan(base), axis=1)
    rough = TO_SIGMA * medians(np.abs(base - centre))
    cut = apart * np.sqrt(np.maximum(moderated(rough**2, MAD_EFFICIENCY * (count - 1), most)[0], floor**2))
    kept = np.abs(base - centre) <= cut[:, None]
    deviations = np.where(kept, base - centre, 0.0)
    number = np.count_nonzero(kept, axis=1)
    mean = deviations.sum(axis=1) / number
    squares = np.where(kept, (deviations - mean[:, None]) ** 2, 0.0).sum(axis=1)
    variance, freedom = moderated(squares / (number - 1) / _cut_variance(apart), TRIM_EFFICIENCY * (number - 1), most)
    here = kept & current
    nights = np.count_nonzero(here, axis=1)
    level = centre[:, 0] + np.where(here, deviations, 0.0).sum(axis=1) / np.maximum(nights, 1)
    correlation = lag_correlation(np.where(kept, deviations - mean[:, None], np.nan)[:: max(1, len(base) // POOLED)])
    return Spread(level, nights.astype(float), np.sqrt(np.maximum(variance, floor**2)), freedom, correlation)


@cache
def _cut_variance(apart: float) -> float:
    """Variance of a unit normal distribution cut at `apart` on both sides."""
    density = np.exp(-(apart**2) / 2) / np.sqrt(2 * np.pi)
    return float(1 - 2 * apart * density / (2 * ndtr(apart) - 1))


def lag_correlation(deviations: Array) -> float:
    """Lag 1, pooled over the series: each by itself has too few nights to tell. From 0 to 0.9; a level that is estimated from the same
    nights biases it by about -1/n."""
    products = deviations[:, 1:] * deviations[:, :-1]
    squares = (deviations[:, 1:] ** 2 + deviations[:, :-1] ** 2) / 2
    pairs = ~np.isnan(products)
    if not pairs.any():
        return 0.0
    nights = np.count_nonzero(~np.isnan(deviations)) / len(deviations)
    told = np.nansum(products) / max(float(np.sum(squares[pairs])), 1e-300) + 1 / nights
    return float(np.clip(told, 0.0, 0.9))


def inflation(nights: Array, correlation: float) -> Array:
    """By how much the variance of the mean of so many consecutive nights exceeds that of independent ones, in AR(1)."""
    n, r = nights, correlation
    return (1 + r) / (1 - r) - 2 * r * (1 - r**n) / (n * (1 - r) ** 2)
