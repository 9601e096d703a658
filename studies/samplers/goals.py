"""What our sampler has to reach, and whether it did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from studies.samplers.trial import Outcome

OURS, NVBENCH = "ours", "nvbench stdrel"


@dataclass(frozen=True)
class Goal:
    name: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def goals(outcomes: Sequence[Outcome]) -> list[Goal]:
    """Only those that the outcomes say something about."""
    ours = [o for o in outcomes if o.sampler == OURS]
    found = []
    biases = [abs(o.bias) for o in ours if not math.isnan(o.bias)]
    if biases:
        found.append(Goal("largest bias of a scenario either way, over its `ok` runs", max(biases), 0.005))
    usual = [o.coverage for o in ours if not math.isnan(o.coverage) and o.scenario.behaviour.rho <= 0.5]
    if usual:
        found.append(Goal("least coverage of a scenario with rho at most 0.5", min(usual), 0.97, at_least=True))
    strong = [o.coverage for o in ours if not math.isnan(o.coverage) and o.scenario.behaviour.rho == 0.9]
    if strong:
        found.append(Goal("least coverage of a scenario with rho 0.9", min(strong), 0.90, at_least=True))
    hopeless = [o.verdicts.get("ok", 0.0) for o in ours if not o.scenario.has_truth]
    if hopeless:
        found.append(Goal("largest share of `ok` where nothing can converge", max(hopeless), 0.0))
    spent = {o.scenario.name: o.device_s for o in outcomes if o.sampler == NVBENCH}
    both = [(o.device_s, spent[o.scenario.name]) for o in ours if o.scenario.expected == "ok" and o.scenario.name in spent]
    if both:
        found.append(
            Goal("device time to `ok`, all scenarios, over nvbench stdrel's", sum(a for a, _ in both) / sum(b for _, b in both), 0.5)
        )
    return found
