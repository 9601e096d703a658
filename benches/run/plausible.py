"""Whether a row's numbers can be a measurement's: a page, a Parquet file and a cost model take them on trust."""

from __future__ import annotations

import math

from benches.row import Conditions, Row

SHORTEST_S = 1e-12  # no clock tells less
LONGEST_S = 1e9
MOST = 1e60  # FLOPs and bytes: squares and cubes of it are still floats
LARGEST_DIM = 2**32
SIGNED = ("temperature_c",)


def implausible(row: Row) -> str | None:
    """What cannot be, in words, or None."""
    for name in ("median_s", "ci_low_s", "ci_high_s"):
        seconds = getattr(row, name)
        if seconds is not None and not SHORTEST_S <= seconds <= LONGEST_S:
            return f"{name} is {seconds:g}"
    if row.samples_s and not (min(row.samples_s) >= 0 and sum(row.samples_s) < math.inf):  # the sum of what holds a NaN is NaN
        return "samples_s holds a time that is negative or not finite"
    for name, size in row.dims.items():
        if not 1 <= size <= LARGEST_DIM:
            return f"dim {name[:20]!r} is not from 1 to {LARGEST_DIM}"
    known = [(name, getattr(row, name)) for name in Row.model_fields]  # what a newer version adds is not judged
    known += [(name, getattr(row.conditions, name)) for name in Conditions.model_fields]
    for name, value in known:
        if isinstance(value, int | float) and not (-MOST if name in SIGNED else 0) <= value <= MOST:
            return f"{name} is negative, not finite or beyond {MOST:g}"
    return None
