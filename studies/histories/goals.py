"""The worlds that a rule is put into, and what ours has to reach in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from studies.histories.score import Score
from studies.histories.simulate import World

QUIET, SMALL, NOISY = "noise 1%, steps of 5%", "noise 1%, steps of 3%", "noise 2%, steps of 5%"
ROUGH = "noise 1%, of one series in 50 10%"
WORLDS: Mapping[str, World] = {
    QUIET: World(),
    SMALL: World(step=0.03),
    NOISY: World(noise=0.02),
    "noise 1%, nights correlated by 0.3": World(correlated=0.3),
    "noise 1% of a t distribution with 4 degrees of freedom": World(tails=4.0),
    "noise 0.6% to 1.6% among the series": World(unequal=0.5),
    ROUGH: World(rough=0.02),
    "40 series": World(series=40),
    "5 series, whose shift cannot be told": World(series=5, stepping=0.2),
    "3,000 series, Benjamini-Hochberg": World(series=3000, stepping=0.02),
}


@dataclass(frozen=True)
class Goal:
    name: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def goals(scores: Mapping[str, Score]) -> list[Goal]:
    """Of our rule's score in the first three worlds, and where a few series are far noisier."""
    quiet, small, noisy = scores[QUIET], scores[SMALL], scores[NOISY]
    return [
        Goal("false confirmed alarms per 1,000 series-nights, noise 1%", (quiet + small).false_per_1000, 1.0),
        Goal("steps of 5% confirmed within 4 nights, noise 1%", quiet.share(quiet.soon), 0.96, at_least=True),
        Goal("steps of 3% confirmed within 14 nights, noise 1%", small.share(small.later), 0.90, at_least=True),
        Goal("false confirmed alarms per 1,000 series-nights, noise 2%", noisy.false_per_1000, 1.0),
        Goal("false confirmed alarms per 1,000 series-nights, one series in 50 of 10% noise", scores[ROUGH].false_per_1000, 1.0),
        Goal("steps of 5% confirmed within 4 nights, noise 2%", noisy.share(noisy.soon), 0.75, at_least=True),
    ]
