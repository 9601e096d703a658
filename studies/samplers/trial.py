"""One sampler before one scenario, over seeds, and what that says."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from statistics import fmean

from studies.samplers.rules import RULES
from studies.samplers.scenarios import Scenario


@dataclass(frozen=True)
class Outcome:
    """Figures over the seeds; NaN where there is nothing to say. Bias, worst and coverage are over the runs that ended `ok`."""

    sampler: str
    scenario: Scenario
    runs: int
    verdicts: dict[str, float]  # share by status
    bias: float  # mean of estimate / truth − 1
    worst: float  # largest |estimate / truth − 1|
    coverage: float  # share of intervals that hold the truth
    device_s: float  # mean time on the device to the verdict, idling and cooling counted


def trial(sampler: str, scenario: Scenario, seeds: range) -> Outcome:
    errors, held, spent = [], [], []
    verdicts: Counter[str] = Counter()
    for seed in seeds:
        device, workload = scenario.make(seed)
        begin = device.now_s()
        found = RULES[sampler](device, workload)
        spent.append(device.now_s() - begin)
        verdicts[found.status] += 1
        if found.status == "ok":
            errors.append(found.seconds / scenario.truth_s - 1)
            if found.low_s is not None and found.high_s is not None and scenario.has_truth:
                held.append(found.low_s <= scenario.truth_s <= found.high_s)
    shares = {status: count / len(seeds) for status, count in sorted(verdicts.items())}
    known = [e for e in errors if not math.isnan(e)]
    bias, worst = (fmean(known), max(map(abs, known))) if known else (math.nan, math.nan)
    return Outcome(sampler, scenario, len(seeds), shares, bias, worst, fmean(held) if held else math.nan, fmean(spent))
