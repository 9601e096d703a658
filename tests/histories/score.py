"""What a rule makes of a simulated history: alarms where nothing happened, and how soon a step is found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.verdict.rule import Rule
from reports.verdict.scan import scan
from reports.verdict.shift import remove_shift
from tests.histories.simulate import History

Alarms = tuple[NDArray[np.int64], NDArray[np.bool_]]  # -1, 0, 1 and whether judged, both [series, nights]
Judge = Callable[[History], Alarms]
THRESHOLD = 0.015  # the practical one, as in configs/verdicts


@dataclass(frozen=True)
class Score:
    """Counts; add them up over seeds. Steps are found where an alarm of their direction comes within so many nights of the first."""

    false_alarms: int = 0
    quiet: int = 0  # series-nights judged before any step
    steps: int = 0
    within_4: int = 0
    within_14: int = 0
    located: int = 0  # of those within 14, whose first night is right to a night

    def __add__(self, other: Score) -> Score:
        return Score(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    @property
    def per_1000(self) -> float:
        return 1000 * self.false_alarms / max(self.quiet, 1)


def ours(rule: Rule) -> Judge:
    """The shipped rule, on times freed of the node's shift."""

    def judge(history: History) -> Alarms:
        freed = remove_shift(history.times[:, :, None], rule).values
        found = scan(freed, np.full(len(freed), THRESHOLD), rule)
        alarms = np.zeros(freed.shape, dtype=np.int64)
        for change in found.confirmed:
            alarms[change.series, change.night] = np.sign(change.difference) * (1 + change.first)
        return alarms, found.judged

    return judge


def score(alarms: Alarms, history: History) -> Score:
    """An alarm at or after the first night of a step is of that step; one before, or in a series without a step, is false."""
    found, judged = alarms
    nights = np.arange(found.shape[1])
    quiet = nights < history.step_at[:, None]
    total = Score(int(np.count_nonzero(found[quiet])), int(np.count_nonzero(judged & quiet)))
    for row in np.flatnonzero(history.step_at < len(nights)):
        at = history.step_at[row]
        right = np.flatnonzero(np.sign(found[row, at:]) == history.direction[row])
        soon = int(right[0]) if len(right) else len(nights)
        near = soon < 14 and abs(abs(found[row, at + soon]) - 1 - at) <= 1
        total += Score(0, 0, 1, int(soon < 4), int(soon < 14), int(near))
    return total


def total(judge: Judge, histories: Iterable[History]) -> Score:
    """Over all histories."""
    return sum((score(judge(history), history) for history in histories), Score())
