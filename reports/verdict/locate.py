"""In which night a step was."""

from __future__ import annotations

import numpy as np
import ruptures

from reports.verdict.robust import Array

LEAST = 2  # nights on each side


def first_night(values: Array, level: float, difference: float, sigma: float, apart: float = 3.0) -> int:
    """The index of the first night after the one step in `values`, log time without gaps, from `level` to `level + difference`.

    Outliers beyond `apart` standard deviations outside the two levels are cut to that first: a step is what many nights agree on.
    """
    low, high = min(level, level + difference) - apart * sigma, max(level, level + difference) + apart * sigma
    found = ruptures.KernelCPD(kernel="linear", min_size=LEAST).fit(np.clip(values, low, high)).predict(n_bkps=1)
    return int(found[0])
