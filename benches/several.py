"""One point measured in several fresh processes: the rows of each become one row, whose interval knows what differs between processes."""

from __future__ import annotations

from collections.abc import Sequence

from benches.processes import combine
from benches.row import TIMED, Row


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
