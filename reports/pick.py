"""Single rows out of a frame."""

from __future__ import annotations

import numpy as np
import pandas as pd


def largest(frame: pd.DataFrame, values: pd.Series) -> pd.Series:
    """The row of `frame` with the largest of `values` (same length; NaN never wins). Raises ValueError where all are NaN."""
    return frame.iloc[int(np.nanargmax(values.to_numpy(float)))]
