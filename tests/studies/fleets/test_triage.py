"""The study of triage in small."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reports.survey.families import LAUNCH, MEMORY, TENSOR
from reports.survey.judge import SLOW, UNUSABLE
from studies.fleets import triage
from studies.fleets.score import Found, judged
from studies.fleets.simulate import EVERYTHING, World, simulate
from studies.fleets.triage import FULL, SHORT, TRIAGE, Outcome, Trial, early_points, first_pass, policies
from studies.fleets.worlds import KINDS

SMALL = World(gpus=131, spread=0.005, points={MEMORY: 9, TENSOR: 11, LAUNCH: 5}, noisy=0.0, missing=0.0)
REFERENCES = np.arange(90, 122)
NAME = "spread 0.5%, slow by 3%"


def test_the_first_pass_measures_the_first_points_of_each_family() -> None:
    family = np.array([MEMORY, LAUNCH, MEMORY, MEMORY, MEMORY, MEMORY, LAUNCH], dtype=object)
    assert early_points(family).tolist() == [True, True, True, True, True, False, True]


def test_the_first_pass_is_of_the_same_gpus_with_twice_the_noise() -> None:
    world = replace(SMALL, gpus=997, spread=1e-9)
    whole, early = simulate(world, 4), first_pass(world, 4)
    measured = early_points(whole.family)
    assert np.isnan(early.log_s[:, ~measured]).all()
    assert early.log_s[:, measured].std(axis=0).mean() == pytest.approx(2 * world.noise, rel=0.05)
    np.testing.assert_array_equal(early.log_s, first_pass(world, 4).log_s)


def test_triage_finds_the_slow_ones_and_measures_few_twice() -> None:
    slowness = {7: (EVERYTHING, 0.1), 9: (MEMORY, 0.1), 11: (LAUNCH, 0.1)}
    fleet, early = simulate(SMALL, 5).slowed(slowness), first_pass(SMALL, 5).slowed(slowness)
    found = policies(fleet, early, REFERENCES)
    for policy in (FULL, SHORT, TRIAGE):
        gpus = found[policy][0]
        assert gpus.index[gpus["state"] == SLOW].tolist() == [7, 9, 11]
        assert list(gpus["families"][[9, 11]]) == [(MEMORY,), (LAUNCH,)]
    assert found[FULL][1] == 1
    assert found[SHORT][1] == 12 / 25
    again = (found[TRIAGE][1] - 12 / 25) * 131  # GPUs
    assert again == pytest.approx(round(again))
    assert 32 + 3 <= again <= 32 + 20


def test_gpus_that_the_first_pass_did_not_judge_are_in_doubt() -> None:
    early = first_pass(SMALL, 5)
    early.log_s[3] = np.nan
    _, tested = judged(early)
    assert triage.in_doubt(tested, 131)[3]
    verdict = policies(simulate(SMALL, 5), early, REFERENCES)[TRIAGE][0]
    assert verdict["state"][3] != UNUSABLE


def test_the_references_show_each_points_median_over_the_fleet() -> None:
    """Also where all of them are slower than most, and where the second pass is slower than the first by another amount at every point."""
    world = replace(SMALL, noise=1e-6, spread=0.02)
    fleet, early = simulate(world, 6), first_pass(world, 6)
    later = np.linspace(0, 0.3, fleet.log_s.shape[1])
    fleet.log_s[:] += later
    slowest = np.argsort(fleet.log_s[:, 0])[-32:]
    _, tested = judged(early)
    np.testing.assert_allclose(triage.centres(fleet, early, tested, slowest), np.median(fleet.log_s, axis=0), atol=2e-5)


@pytest.mark.slow
def test_a_trial_has_every_policy_and_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(triage.TRIALS, NAME, Trial(SMALL, 0.1))  # type: ignore[arg-type]
    outcomes = triage.trial(NAME, 3)
    for policy in triage.POLICIES:
        assert [one.kind for one in outcomes[policy].found] == list(KINDS)
        assert sum(one.found for one in outcomes[policy].found) == 4


def outcomes(found: int, accused: int, cost: float) -> dict[str, Outcome]:
    finds = [Found(kind, 10, 10, 10, 0.03, 0) for kind in KINDS]
    worse = [replace(one, found=found, named=found) for one in finds]
    return {FULL: Outcome(0, finds, 1.0), SHORT: Outcome(0, finds, 0.24), TRIAGE: Outcome(accused, worse, cost)}


def test_goals_by_hand() -> None:
    assert triage.missed_by_triage({NAME: [outcomes(10, 2, 0.3), outcomes(10, 0, 0.3)]}) == []
    assert triage.missed_by_triage({NAME: [outcomes(9, 3, 0.4), outcomes(9, 0, 0.4)]}) == [
        f"triage, {NAME}: 90.0% of the slow ones found, of 95%",
        f"triage, {NAME}: 1.50 healthy GPUs accused a fleet",
        f"triage, {NAME}: 40% of the GPU-minutes",
    ]
    lines = triage.triage_table({NAME: [outcomes(9, 3, 0.4)]})
    assert lines[-1] == f"| {NAME} | triage | 40% | 3.00 | 90.0% | 90% ({EVERYTHING}) | 100% |"
