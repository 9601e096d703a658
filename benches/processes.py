"""Several processes for one point: what one process cannot see is how much its own memory layout and clocks of the moment matter. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median, stdev

from benches.timing.interval import Interval

# Student's t, two-sided 99%, by degrees of freedom (any table of quantiles; tests compare with scipy).
T_99 = (
    63.657,
    9.925,
    5.841,
    4.604,
    4.032,
    3.707,
    3.499,
    3.355,
    3.250,
    3.169,
    3.106,
    3.055,
    3.012,
    2.977,
    2.947,
    2.921,
    2.898,
    2.878,
    2.861,
)


def combine(medians_s: Sequence[float]) -> Interval:
    """The median of the processes' medians, and an interval of ±t·s/√N around their mean, widened to hold it.

    The processes are independent, so that the interval counts everything that differs between them; samples within a process do not
    come into it. Two processes give an interval of ±45 standard deviations: use five. Raises ValueError for fewer than two.
    """
    n = len(medians_s)
    if n < 2:
        raise ValueError(f"{n} process: what differs between processes cannot be known from fewer than two")
    middle, mean = median(medians_s), fmean(medians_s)
    t = T_99[min(n - 1, len(T_99)) - 1]
    reach = t * stdev(medians_s) / math.sqrt(n)
    return Interval(middle, min(middle, mean - reach), max(middle, mean + reach))
