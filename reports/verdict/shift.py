"""What a whole node was slower or faster by in a night: the median over its series. It is removed from each of them, and reported."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.verdict.robust import Array, medians
from reports.verdict.rule import Rule

USUAL_NIGHTS, USUAL_LAST = 5, 10  # of a GPU: so many say what is usual for it, and at most the last so many are asked


@dataclass(frozen=True)
class Shifted:
    """values: [series, nights] log time with the shifts removed; shift: [nights, GPUs], NaN where it could not be told; series: how many
    it rests on; moved: the shift less what is usual for the GPU, the median of its last nights, NaN where these are too few.

    Shifts are counted from the first night, whatever that night was like: only `moved` says whether a night was unusual.
    """

    values: Array
    shift: Array
    series: NDArray[np.int64]
    moved: Array


def remove_shift(times: Array, rule: Rule) -> Shifted:
    """times: log seconds [series, nights, GPUs], NaN where absent.

    A series counts as measured against the median of its nights before, already freed of their shift, so that a node that stays slow
    stays shifted. Of several GPUs in a night each is freed of its own shift, and the series' value is their median.
    """
    series, nights, gpus = times.shape
    values = np.full((series, nights), np.nan)
    shift, counts = np.full((nights, gpus), np.nan), np.zeros((nights, gpus), dtype=np.int64)
    for night in range(nights):
        before = values[:, max(0, night - rule.shift_base) : night]
        reference = medians(before) if night else np.full(series, np.nan)
        away = times[:, night] - reference[:, None]
        counts[night] = np.count_nonzero(~np.isnan(away), axis=0)
        told = counts[night] >= rule.shift_series
        shift[night, told] = np.nanmedian(away[:, told], axis=0)
        freed = times[:, night] - np.where(told, shift[night], 0.0)
        values[:, night] = medians(freed)
    return Shifted(values, shift, counts, _moved(shift))


def _moved(shift: Array) -> Array:
    moved = np.full(shift.shape, np.nan)
    for night in range(1, len(shift)):
        for gpu in range(shift.shape[1]):
            before = shift[:night, gpu][~np.isnan(shift[:night, gpu])][-USUAL_LAST:]
            if len(before) >= USUAL_NIGHTS:
                moved[night, gpu] = shift[night, gpu] - np.median(before)
    return moved


def freed(times: Array, shift: Array) -> Array:
    """[series, nights] log time with a shift removed that is known from more series than these. times: [series, nights, GPUs]."""
    return np.stack([medians(times[:, night] - np.nan_to_num(shift[night])) for night in range(times.shape[1])], axis=1)
