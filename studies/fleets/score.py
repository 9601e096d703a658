"""What the verdict makes of a simulated fleet: healthy GPUs accused, slow ones found, and named rightly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.survey.families import ALL
from reports.survey.judge import SLOW, WATCH, Tested, counting, states, tests
from reports.survey.thresholds import load_thresholds
from reports.verdict.robust import medians
from studies.fleets.simulate import EVERYTHING, Fleet, World, simulate

STRANGE = 7919  # between the seeds of fleets and those of the choice of GPUs


@dataclass(frozen=True)
class Health:
    """A healthy fleet: GPUs called slow and watched, and the slowness that the verdict says it would find."""

    accused: int
    watched: int
    detectable: float


@dataclass(frozen=True)
class Found:
    """Slow GPUs of one kind in a fleet: how many were made slow, found, and named by just what they are slow in; `by` how much."""

    kind: str
    planted: int
    found: int
    named: int
    by: float
    accused: int  # healthy ones


def judged(fleet: Fleet) -> tuple[pd.DataFrame, Mapping[str, Tested]]:
    """The verdict on a fleet as reports.survey.judge makes it of a survey's rows; shown to be the same by a test."""
    thresholds, count = load_thresholds(), len(fleet.log_s)
    counts = counting(fleet.log_s)
    relative = fleet.log_s[:, counts] - medians(fleet.log_s[:, counts].T)
    tested = tests(relative, fleet.family[counts], thresholds, (thresholds.accused_share(count), thresholds.watched_share(count)))
    return states(np.arange(count).astype(object), relative, tested), tested


def health(world: World, seed: int) -> Health:
    """Returns the verdict's counts on a fleet in which no GPU is slow."""
    gpus, tested = judged(simulate(world, seed))
    return Health(int((gpus["state"] == SLOW).sum()), int((gpus["state"] == WATCH).sum()), printed(tested, EVERYTHING))


def found(world: World, seed: int, kinds: Sequence[str], each: int, by: float | None) -> list[Found]:
    """Makes `each` GPUs of every kind slower, by what the verdict on the healthy fleet says that it finds where `by` is None."""
    fleet = simulate(world, seed)
    sizes = dict.fromkeys(kinds, by)
    if by is None:
        _, before = judged(fleet)
        sizes = {kind: printed(before, kind) for kind in kinds}
    chosen = np.random.default_rng(STRANGE + seed).choice(world.gpus, each * len(kinds), replace=False).reshape(len(kinds), each)
    slowness = {int(gpu): (kind, float(sizes[kind] or 0)) for kind, some in zip(kinds, chosen, strict=True) for gpu in some}
    gpus, _ = judged(fleet.slowed(slowness))
    slow = gpus["state"] == SLOW
    accused = int(slow.sum() - slow.iloc[list(slowness)].sum())
    return [score(kind, gpus.iloc[some], float(sizes[kind] or 0), accused) for kind, some in zip(kinds, chosen, strict=True)]


def score(kind: str, gpus: pd.DataFrame, by: float, accused: int) -> Found:
    """Returns what was found of the slow GPUs of one kind. gpus: their lines of the verdict; accused: healthy GPUs called slow."""
    slow = gpus[gpus["state"] == SLOW]
    one_family = [len(names) == 1 for names in slow["families"]]
    named = [not one for one in one_family] if kind == EVERYTHING else [names == (kind,) for names in slow["families"]]
    return Found(kind, len(gpus), len(slow), sum(named), by, accused)


def printed(tested: Mapping[str, Tested], kind: str) -> float:
    """The slowness that the verdict says is found in 95% of cases."""
    return float(np.expm1(tested[ALL if kind == EVERYTHING else kind].detectable))


def by_kind(scores: Sequence[Found]) -> Mapping[str, list[Found]]:
    kinds = dict.fromkeys(score.kind for score in scores)
    return {kind: [score for score in scores if score.kind == kind] for kind in kinds}
