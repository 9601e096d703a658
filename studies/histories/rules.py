"""Rules that judge a history: the shipped one, and what others do."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from reports.verdict.rule import DEFAULT, Rule
from reports.verdict.scan import scan
from reports.verdict.shift import remove_shift
from reports.verdict.thresholds import load_thresholds
from studies.histories.score import Alarms, Judge
from studies.histories.simulate import Array, History

START = 13  # the night from which every rule is scored: before it there is too little to judge by
SAME = 8  # nights within which an alarm of a rule without a memory is the one before it


def ours(rule: Rule = DEFAULT) -> Judge:
    """The shipped rule, with the shipped threshold."""
    threshold = np.log1p(load_thresholds().default)

    def judge(history: History) -> Alarms:
        freed = remove_shift(history.times[:, :, None], rule).values
        found = scan(freed, np.full(len(freed), threshold), rule)
        direction, first = (np.zeros(freed.shape, dtype=np.int64) for _ in range(2))
        for change in found.confirmed:
            direction[change.series, change.night] = np.sign(change.difference)
            first[change.series, change.night] = change.first
        return Alarms(direction, found.judged, first)

    return judge


def last_night(limit: float = 0.05) -> Judge:
    """A fixed percentage against the night before, as most comparisons in CI."""

    def judge(history: History) -> Alarms:
        change = np.diff(history.times, axis=1, prepend=np.nan)
        return _alarms(np.where(np.abs(change) > np.log1p(limit), np.sign(change), 0), ~np.isnan(change))

    return judge


def mann_whitney(recent: int = 3, before: int = 20) -> Judge:
    """Ranks of the last 3 nights among the 20 before, p < 0.005, over 1.5% and over 3.5 MAD / sqrt(3), the node's shift removed."""

    def judge(history: History) -> Alarms:
        values = remove_shift(history.times[:, :, None], DEFAULT).values
        seen = ~np.isnan(values)
        dense = np.take_along_axis(values, np.argsort(~seen, axis=1, kind="stable"), axis=1)
        count = np.cumsum(seen, axis=1)
        direction = np.zeros(values.shape)
        judged = seen & (count >= recent + before)
        for night in range(values.shape[1]):
            rows = np.flatnonzero(judged[:, night])
            if len(rows):
                back = count[rows, night][:, None] - 1 - np.arange(recent + before)
                direction[rows, night] = _ranked(np.take_along_axis(dense[rows], back, axis=1), recent)
        return _alarms(direction, judged)

    return judge


def _ranked(values: Array, recent: int) -> Array:
    from scipy.stats import mannwhitneyu  # more than a second, which nothing that only knows of this rule needs

    new, old = values[:, :recent], values[:, recent:]
    level = np.median(old, axis=1)
    change = np.median(new, axis=1) - level
    spread = np.median(np.abs(old - level[:, None]), axis=1)
    p = mannwhitneyu(new, old, axis=1, method="exact").pvalue
    return np.where((p < 0.005) & (np.abs(change) > np.maximum(0.015, 3.5 * spread / np.sqrt(3))), np.sign(change), 0)


def _alarms(direction: Array, judged: NDArray[np.bool_]) -> Alarms:
    """Each alarm once: what goes on within `SAME` nights in the same direction is the same one."""
    once = np.zeros(direction.shape, dtype=np.int64)
    last = np.full((len(direction), 2), -SAME)
    for night in range(START, direction.shape[1]):
        for column, sign in enumerate((-1, 1)):
            rows = np.flatnonzero(direction[:, night] == sign)
            once[rows[night - last[rows, column] >= SAME], night] = sign
            last[rows, column] = night
    return Alarms(once, judged & (np.arange(direction.shape[1]) >= START))


RULES: Mapping[str, Judge] = {"ours": ours(), "Mann-Whitney, 3 against 20": mann_whitney(), "5% against last night": last_night()}
