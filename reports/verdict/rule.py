"""The rule by which a change is confirmed, as numbers. Tuned on simulated histories; docs/verdicts.md holds what it reaches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Window(NamedTuple):
    """The last nights that are set against those before, and the share of alpha that this may spend."""

    nights: int
    share: float


@dataclass(frozen=True)
class Rule:
    """Times are compared as logarithms, one number a night.

    The last w nights of a series, for each w in `windows`, are set against up to `base` nights before them by a t-test whose variance is
    moderated over all series. A change is confirmed where p <= alpha and the change exceeds the op's practical threshold; beyond
    `fdr_above` series it must also be selected by Benjamini-Hochberg at `fdr`.
    """

    windows: tuple[Window, ...] = (Window(3, 0.45), Window(4, 0.45), Window(10, 0.1))
    base: int = 30  # nights before the window
    least_base: int = 10  # nights before a series is judged at all
    least_segment: int = 3  # nights since the last change before another is looked for
    apart: float = 3.0  # standard deviations from the median beyond which a night is left out as an outlier
    limit: float = 3.0  # standard deviations that a night may count as at most
    alpha: float = 0.0013  # of a series and night, two-sided, all windows together
    fdr: float = 0.10
    fdr_above: int = 1000  # series: with fewer, alpha alone keeps the false alarms of a night below one
    floor: float = 5e-4  # least standard deviation that is believed: medians have steps
    most_prior: float = 50.0  # nights that the other series' variance may weigh at most
    shift_base: int = 20  # nights that the node's shift is measured against
    shift_series: int = 10  # series without which there is no telling the node from a series
    watch: float = 3.5  # standard deviations from which a single night is pointed out
    lookback: int = 60  # nights that are replayed; what was confirmed before them is history

    def agreeing(self, window: int) -> int:
        """Nights of a window that must lie together: all of 3, 3 of 4, 6 of 10. Two outliers in 3 nights are no change."""
        return window - (window - 2) // 2


DEFAULT = Rule()
