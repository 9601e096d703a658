"""What a rule makes of a simulated history: alarms where nothing happened, and how soon a step is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from studies.histories.simulate import History

SOON, LATER = 4, 14  # nights within which a step is to be found, its first among them


@dataclass(frozen=True)
class Alarms:
    """All [series, nights]. direction: -1 faster, 1 slower, 0 none, in the night in which it is first said."""

    direction: NDArray[np.int64]
    judged: NDArray[np.bool_]
    first: NDArray[np.int64] | None = None  # the night in which the step is said to have been, where the rule tells


Judge = Callable[[History], Alarms]


@dataclass(frozen=True)
class Score:
    """Counts, to be added up over histories."""

    false_alarms: int = 0
    quiet: int = 0  # series-nights judged before any step
    steps: int = 0
    soon: int = 0
    later: int = 0  # those found soon among them
    located: int = 0  # of these, said to have been in the right night or the one beside it

    def __add__(self, other: Score) -> Score:
        return Score(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def false_per_1000(self) -> float:
        return 1000 * self.false_alarms / self.quiet if self.quiet else np.nan

    def share(self, count: int) -> float:
        """Of the steps."""
        return count / self.steps if self.steps else np.nan


def score(alarms: Alarms, history: History) -> Score:
    """An alarm from the first night of a step on is of that step, if it says its direction; one before it, or without any, is false."""
    nights = np.arange(alarms.direction.shape[1])
    quiet = nights < history.step_at[:, None]
    total = Score(int(np.count_nonzero(alarms.direction[quiet])), int(np.count_nonzero(alarms.judged & quiet)))
    for row in np.flatnonzero(history.step_at < len(nights)):
        at = int(history.step_at[row])
        right = np.flatnonzero(alarms.direction[row, at:] == history.direction[row])
        after = int(right[0]) if len(right) else len(nights)
        near = after < LATER and alarms.first is not None and abs(int(alarms.first[row, at + after]) - at) <= 1
        total += Score(steps=1, soon=int(after < SOON), later=int(after < LATER), located=int(near))
    return total
