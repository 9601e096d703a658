"""Tails and quantiles of distributions, and false discoveries: what scipy.stats gives, from scipy.special, since importing the former takes
more than a second of every `compare` and `nightly`. Tests compare the two."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import fdtri, ndtr, ndtri, stdtr, stdtrit

Array = NDArray[np.float64]


def t_above(value: ArrayLike, freedom: ArrayLike) -> Array:
    """Probability that Student's t is larger than `value`; NaN for a freedom that is not positive."""
    return np.asarray(stdtr(freedom, -np.asarray(value)))


def t_quantile(probability: ArrayLike, freedom: ArrayLike) -> Array:
    """What Student's t is below with this probability."""
    return np.asarray(stdtrit(freedom, probability))


def f_exceeded(probability: float, above: ArrayLike, below: ArrayLike) -> Array:
    """What F, with the freedoms of its numerator and denominator, exceeds with this probability."""
    return np.asarray(fdtri(above, below, 1 - probability))


def cut_normal_variance(apart: float) -> float:
    """Variance of a unit normal distribution cut at `apart` on both sides."""
    density = np.exp(-(apart**2) / 2) / np.sqrt(2 * np.pi)
    return float(1 - 2 * apart * density / (2 * ndtr(apart) - 1))


def robust_deviation(values: ArrayLike) -> float:
    """The median distance from the median, in standard deviations of a normal distribution; NaN of no values or of a NaN."""
    numbers = np.asarray(values, dtype=float)
    return float(np.median(np.abs(numbers - np.median(numbers))) / ndtri(0.75)) if len(numbers) else np.nan


def false_discovery_q(p: ArrayLike) -> Array:
    """Benjamini and Hochberg's q of each p: the share of false ones among all that are at most as likely."""
    numbers = np.asarray(p, dtype=float)
    order = np.argsort(numbers)
    share = numbers[order] * (len(numbers) / np.arange(1, len(numbers) + 1))
    q = np.empty_like(numbers)
    q[order] = np.clip(np.minimum.accumulate(share[::-1])[::-1], 0, 1)
    return q
