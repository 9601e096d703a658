"""Several processes for one point: what one process cannot see is how much its own memory layout and clocks of the moment matter. Pure.

The rows of each become one row, whose interval knows what differs between processes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median, stdev

from benches.row import TIMED, Row
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
        raise ValueError(f"{n} process: measuring the variation between processes needs at least two")
    middle, mean = median(medians_s), fmean(medians_s)
    t = T_99[min(n - 1, len(T_99)) - 1]
    reach = t * stdev(medians_s) / math.sqrt(n)
    return Interval(middle, min(middle, mean - reach), max(middle, mean + reach))


def combine_rows(rows: Sequence[Row], half_width: float) -> Row:
    """Rows of one point, one a process. Where one of them has no time it is the answer: a point that crashes sometimes crashes.

    half_width: of the interval, relative, above which the point is `noisy`.
    """
    untimed = next((row for row in rows if row.status not in TIMED), None)
    if untimed is not None or len(rows) == 1:
        return untimed or rows[0]
    medians = [row.median_s for row in rows if row.median_s is not None]
    interval = combine(medians)
    throttled = any(row.status == "throttled" for row in rows)
    wide = interval.half_width > half_width
    unsure = next((row for row in rows if row.status == "noisy"), None)
    reason = f"between {len(rows)} processes the medians' interval is ±{interval.half_width:.2%}, wanted ±{half_width:.2%}"
    return rows[-1].model_copy(
        update={
            "status": "throttled" if throttled else "noisy" if wide or unsure else "ok",
            "reason": reason if wide else f"in one of {len(rows)} processes {unsure.reason}" if unsure else None,
            "median_s": interval.median,
            "ci_low_s": interval.low,
            "ci_high_s": interval.high,
            "samples_s": [seconds for row in rows for seconds in row.samples_s],
            "process_medians_s": medians,
            "started_utc": rows[0].started_utc,
            "wall_s": sum(row.wall_s or 0.0 for row in rows),
        }
    )
