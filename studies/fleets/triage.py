"""Triage on simulated fleets: few points on every GPU, the whole sweep only on GPUs in doubt. docs/fleet.md has what came of it.

The first pass measures FIRST points of each family with NOISE times the noise. A GPU is in doubt where a healthy one is as slow with
a probability of at most DOUBT. These, and as many as REFERENCES chosen at random, then measure the whole sweep. The references tie the
second pass to the first: they show each point's median over the fleet, which those in doubt would show wrongly. How healthy GPUs
spread is known from the first pass, less noise that the second does not have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.survey.families import ALL
from reports.survey.judge import MEDIAN_VARIANCE, SLOW, Level, Tested, levels, states
from reports.verdict.robust import Array, medians
from studies.fleets.goals import share_found
from studies.fleets.score import STRANGE, Found, judged, printed, score
from studies.fleets.simulate import Fleet, World, simulate
from studies.fleets.worlds import ACCUSED, KINDS, UNEQUAL

FIRST = 4  # points of each family
NOISE = 2.0  # times that of the whole sweep, as of a quarter of the samples; what that saves of a point's time is not counted
DOUBT = 0.04  # share of healthy GPUs, all tests together
REFERENCES = 32
LEAST_VARIANCE = 0.25  # of the first pass's levels, that is left where their noise is taken away
MOST_COST = 1 / 3  # of the GPU-minutes of the whole sweep on all
FULL, SHORT, TRIAGE = "whole sweep on all", "first pass alone", "triage"
POLICIES = (FULL, SHORT, TRIAGE)


@dataclass(frozen=True)
class Trial:
    """A fleet, and slow GPUs of each kind in it: 3% slower, or by what the verdict on the whole sweep prints (None)."""

    world: World
    by: float | None
    least: float | None = 0.95  # share of the slow ones that triage is to find; None: as many as the whole sweep finds, less 2%


TRIALS: Mapping[str, Trial] = {
    "spread 0.5%, slow by 3%": Trial(World(spread=0.005), 0.03),
    "spread 2%, slow by what is printed": Trial(World(), None),
    "spread 10%, slow by what is printed": Trial(World(spread=0.10), None),
    "t with 4 degrees of freedom, 2%, slow by what is printed": Trial(World(tails=4.0), None, None),
    "hosts alike (80%), 2%, slow by what is printed": Trial(World(of_hosts=0.8), None),
    "hosts alike and t with 4 degrees of freedom, 2%, by what is printed": Trial(World(of_hosts=0.5, tails=4.0), None, None),
    "memory 0.1%, tensor cores 1%, launch 5%, by what is printed": Trial(World(own=UNEQUAL), None),
    "noise 1% a point, spread 0.5%, slow by what is printed": Trial(World(spread=0.005, noise=0.01), None),
    "1 row in 10 noisy, 1 in 10 missing, 0.5%, slow by 3%": Trial(World(spread=0.005, noisy=0.1, missing=0.1), 0.03),
}


@dataclass(frozen=True)
class Outcome:
    """What a policy made of a fleet: healthy GPUs accused where none is slow, the slow ones, and its part of the GPU-minutes."""

    accused: int
    found: Sequence[Found]
    cost: float


def trial(name: str, seed: int) -> Mapping[str, Outcome]:
    """The same fleet put before each policy, without slow GPUs and with one of each kind."""
    one = TRIALS[name]
    fleet, early = simulate(one.world, seed), first_pass(one.world, seed)
    _, before = judged(fleet)
    sizes = {kind: one.by if one.by is not None else printed(before, kind) for kind in KINDS}
    rng = np.random.default_rng(STRANGE + seed)
    chosen = rng.choice(one.world.gpus, len(KINDS), replace=False)
    slowness = {int(gpu): (kind, sizes[kind]) for kind, gpu in zip(KINDS, chosen, strict=True)}
    references = rng.choice(one.world.gpus, min(REFERENCES, one.world.gpus), replace=False)
    sound, slowed = policies(fleet, early, references), policies(fleet.slowed(slowness), early.slowed(slowness), references)
    outcomes = {}
    for policy in POLICIES:
        gpus, cost = slowed[policy]
        slow = gpus["state"] == SLOW
        others = int(slow.sum() - slow.iloc[chosen].sum())
        finds = [score(kind, gpus.iloc[[gpu]], sizes[kind], others) for gpu, (kind, _) in slowness.items()]
        outcomes[policy] = Outcome(int((sound[policy][0]["state"] == SLOW).sum()), finds, cost)
    return outcomes


def first_pass(world: World, seed: int) -> Fleet:
    """The fleet as its first pass measures it: the same GPUs and points, with noise besides, and only the first points of each family."""
    fleet = simulate(world, seed)
    extra = world.noise * np.sqrt(NOISE**2 - 1) * np.random.default_rng([seed, STRANGE]).standard_normal(fleet.log_s.shape)
    return Fleet(np.where(early_points(fleet.family), fleet.log_s + extra, np.nan), fleet.family)


def early_points(family: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Which points the first pass measures."""
    return pd.Series(family).groupby(family).cumcount().to_numpy() < FIRST


def policies(fleet: Fleet, early: Fleet, references: NDArray[np.int64]) -> Mapping[str, tuple[pd.DataFrame, float]]:
    """The verdict of each policy, and its part of the GPU-minutes."""
    gpus, points = fleet.log_s.shape
    measured = early_points(fleet.family)
    of_first = np.count_nonzero(measured) / points
    short, tested = judged(early)
    again = in_doubt(tested, gpus)
    chosen = np.union1d(np.flatnonzero(again), references)
    verdict = second_verdict(fleet, early, tested, again, references)
    return {FULL: (judged(fleet)[0], 1.0), SHORT: (short, of_first), TRIAGE: (verdict, of_first + len(chosen) / gpus)}


def in_doubt(tested: Mapping[str, Tested], gpus: int) -> NDArray[np.bool_]:
    """Which GPUs are slower than nearly all, or could not be judged."""
    p = np.fmin.reduce([one.p for one in tested.values()], initial=np.nan) if tested else np.full(gpus, np.nan)
    return np.isnan(p) | (p <= DOUBT / len(tested))


def second_verdict(
    fleet: Fleet, early: Fleet, first: Mapping[str, Tested], again: NDArray[np.bool_], references: NDArray[np.int64]
) -> pd.DataFrame:
    """The verdict on GPUs in doubt by the whole sweep; the others are as the first pass left them, none of them slow."""
    measured = early_points(fleet.family)
    relative = np.where(again[:, None], fleet.log_s - centres(fleet, early, first, references), np.nan)
    tested = {}
    for name, one in first.items():
        level = levels(relative[:, measured if name == ALL else fleet.family == name])
        tested[name] = replace(one, level=level, p=again_p(one, level, again))
    return states(np.arange(len(again)).astype(object), relative, tested)


def centres(fleet: Fleet, early: Fleet, first: Mapping[str, Tested], references: NDArray[np.int64]) -> Array:
    """Each point's median over the fleet in the second pass, as the references show it. A point of the first pass is tied to its own time
    there, another to the level of its family."""
    measured = early_points(fleet.family)
    second = fleet.log_s[references]
    known = np.stack([first[name].level.value[references] for name in fleet.family], axis=1)
    before = early.log_s[references][:, measured] - medians(early.log_s[:, measured].T)
    known[:, measured] = before
    return medians((second - known).T)


def again_p(one: Tested, level: Level, again: NDArray[np.bool_]) -> Array:
    """The probability that a healthy GPU is as slow in the second pass, NaN where it was not in doubt. The spread of the first pass's
    levels holds its noise, which is larger. The part that even means would have is taken away: medians of four scatter hardly more."""
    known = np.isfinite(level.value) & again
    less = np.nan_to_num(level.error**2 - np.nanmedian(one.level.error**2) / MEDIAN_VARIANCE)
    away = (level.value - one.spread.mode) / np.sqrt(np.maximum(1 + less / one.spread.slow**2, LEAST_VARIANCE))
    return np.where(known, one.spread.beyond(one.spread.mode + np.nan_to_num(away)), np.nan)


def triage_table(outcomes: Mapping[str, Sequence[Mapping[str, Outcome]]]) -> list[str]:
    """Returns the lines of a Markdown table: what each policy costs and finds on each kind of fleet."""
    lines = [
        "| fleets, and slow GPUs | policy | GPU-minutes | healthy accused a fleet | found | least of a kind | named rightly |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for name, fleets in outcomes.items():
        for policy in POLICIES:
            some = [fleet[policy] for fleet in fleets]
            finds = [one for outcome in some for one in outcome.found]
            named = sum(one.named for one in finds) / max(sum(one.found for one in finds), 1)
            accused, cost = np.mean([one.accused for one in some]), np.mean([one.cost for one in some])
            least = min((share_found([one for one in finds if one.kind == kind]), kind) for kind in KINDS)
            worst = f"{least[0]:.0%} ({least[1]})"
            lines.append(f"| {name} | {policy} | {cost:.0%} | {accused:.2f} | {share_found(finds):.1%} | {worst} | {named:.0%} |")
    return lines


def missed_by_triage(outcomes: Mapping[str, Sequence[Mapping[str, Outcome]]]) -> list[str]:
    """What triage does not reach, a line each."""
    lines = []
    for name, fleets in outcomes.items():
        of = {policy: share_found([one for fleet in fleets for one in fleet[policy].found]) for policy in POLICIES}
        least = TRIALS[name].least
        least = of[FULL] - 0.02 if least is None else least
        accused, cost = (float(np.mean([getattr(fleet[TRIAGE], what) for fleet in fleets])) for what in ("accused", "cost"))
        if of[TRIAGE] < least:
            lines.append(f"triage, {name}: {of[TRIAGE]:.1%} of the slow ones found, of {least:.0%}")
        if accused > ACCUSED:
            lines.append(f"triage, {name}: {accused:.2f} healthy GPUs accused a fleet")
        if cost > MOST_COST:
            lines.append(f"triage, {name}: {cost:.0%} of the GPU-minutes")
    return lines
