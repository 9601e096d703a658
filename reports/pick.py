"""What sections take out of a frame: single rows, pairs of the same case, means."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kernels.registry import baseline_of

CASE = ["op", "precision", "dims", "options"]


def largest(frame: pd.DataFrame, values: pd.Series) -> pd.Series:
    """The row of `frame` with the largest of `values` (same length; NaN never wins). Raises ValueError where all are NaN."""
    return frame.iloc[int(np.nanargmax(values.to_numpy(float)))]


def pairs(timed: pd.DataFrame) -> pd.DataFrame:
    """Points of every other implementation, with `speedup` = the time of PyTorch's point of the same case / their own."""
    is_baseline = timed["impl"] == timed["op"].map(baseline_of)
    baseline = timed[is_baseline].drop_duplicates(CASE)[[*CASE, "median_s"]].rename(columns={"median_s": "torch_s"})
    others = timed[~is_baseline]
    joined = others.reset_index().merge(baseline, on=CASE, validate="many_to_one").set_index("index")
    return joined.assign(speedup=joined["torch_s"] / joined["median_s"])


def geometric_mean(values: pd.Series) -> float:
    """exp of the mean logarithm of positive ratios."""
    return float(np.exp(np.log(values).mean()))
