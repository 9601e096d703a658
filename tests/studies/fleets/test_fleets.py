"""The study of a survey's verdict in small, and the simulator that it rests on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import studies.fleets.__main__ as study
from reports.survey.families import LAUNCH, MEMORY, TENSOR
from reports.survey.judge import SLOW, judge
from reports.survey.thresholds import load_thresholds
from studies.fleets.goals import found_table, health_table, missed
from studies.fleets.reading import Reading, missed_by_reading, reading, reading_table
from studies.fleets.score import Found, Health, found, health, judged
from studies.fleets.simulate import EVERYTHING, Fleet, World, simulate
from studies.fleets.worlds import HEALTHY, PLANTED

STILL = World(gpus=997, noise=1e-9, noisy=0.0, missing=0.0)
SMALL = World(gpus=131, spread=0.005, points={MEMORY: 5, TENSOR: 7, LAUNCH: 3})


def of_gpus(world: World) -> np.ndarray:
    """How far each GPU is from the fleet, [GPUs, points]."""
    fleet = simulate(world, 3)
    return fleet.log_s - np.median(fleet.log_s, axis=0)


@pytest.mark.parametrize("world", [STILL, replace(STILL, tails=6.0), replace(STILL, skew=0.5), replace(STILL, of_hosts=0.5)])
def test_gpus_spread_as_asked(world: World) -> None:
    assert of_gpus(world)[:, 0].std() == pytest.approx(0.02, rel=0.15)


def test_skewed_fleets_have_their_tail_on_the_slow_side() -> None:
    low, high = np.quantile(of_gpus(replace(STILL, skew=0.5))[:, 0], (0.01, 0.99))
    assert high > -2 * low


def test_gpus_of_a_host_are_alike() -> None:
    away = of_gpus(replace(STILL, gpus=1000, of_hosts=0.8))[:, 0].reshape(125, 8)
    assert away.mean(axis=1).var() / away.var() == pytest.approx(0.8 + 0.2 / 8, abs=0.08)


@pytest.mark.parametrize(("wide_hosts", "share"), [(False, 0.0), (True, 1.0)])
def test_some_gpus_or_hosts_spread_more(wide_hosts: bool, share: float) -> None:
    """share: of the hosts with a GPU that is far out, those of which all GPUs are, at a factor that leaves hardly one near."""
    far = np.abs(of_gpus(replace(STILL, gpus=1000, wide=0.1, wider=1e4, wide_hosts=wide_hosts))[:, 0].reshape(125, 8)) > 0.2
    assert far.mean() == pytest.approx(0.1, abs=0.06)
    assert far.all(axis=1).sum() == share * far.any(axis=1).sum()


def test_a_family_may_have_a_spread_of_its_own() -> None:
    world = replace(STILL, own={MEMORY: 0.001})
    away, family = of_gpus(world), simulate(world, 3).family
    assert away[:, family == MEMORY].std() == pytest.approx(0.001, rel=0.15)
    assert away[:, family == TENSOR].std() == pytest.approx(0.02, rel=0.15)


def test_some_rows_are_missing_and_the_rows_are_those_that_are_not() -> None:
    fleet = simulate(replace(SMALL, missing=0.1), 1)
    assert np.isnan(fleet.log_s).mean() == pytest.approx(0.1, abs=0.03)
    assert len(fleet.rows()) == np.count_nonzero(~np.isnan(fleet.log_s))


def test_slowed_gpus_are_slower_in_their_points_alone() -> None:
    fleet = Fleet(np.zeros((3, 2)), np.array([MEMORY, TENSOR], dtype=object))
    slowed = fleet.slowed({0: (MEMORY, 0.1), 2: (EVERYTHING, 0.2)})
    np.testing.assert_allclose(np.exp(slowed.log_s), [[1.1, 1], [1, 1], [1.2, 1.2]])


def test_the_studys_verdict_is_that_on_the_same_rows() -> None:
    fleet = simulate(SMALL, 5).slowed({7: (EVERYTHING, 0.05), 9: (MEMORY, 0.06)})
    gpus, tested = judged(fleet)
    whole = judge(fleet.rows(), load_thresholds())
    assert list(whole.gpus["state"]) == list(gpus["state"])
    np.testing.assert_allclose(whole.spreads["detectable"], [np.exp(one.detectable) for one in tested.values()])
    assert gpus.index[gpus["state"] == SLOW].tolist() == [7, 9]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, world in HEALTHY.items() if not (world.wide or (world.of_hosts and world.tails))])
def test_healthy_fleets_are_not_accused(name: str) -> None:
    """Four smaller fleets of each kind; `python -m studies.fleets` judges 200 of the full size. Of 32 hosts with heavy tails, one may be
    apart from the others."""
    world = replace(HEALTHY[name], gpus=min(HEALTHY[name].gpus, 256))
    assert sum(health(world, seed).accused for seed in range(10, 14)) <= 4


@pytest.mark.slow
def test_few_gpus_are_accused_where_some_spread_more() -> None:
    """Sixteen were, by a limit that the fast side has no part in."""
    assert sum(health(HEALTHY["1 GPU in 50 with five times the spread, 2%"], seed).accused for seed in range(10, 14)) <= 6


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.005, 0.02])
def test_what_is_printed_is_found(spread: float) -> None:
    scores = [one for seed in range(6) for one in found(replace(SMALL, spread=spread), seed, (EVERYTHING, MEMORY, TENSOR, LAUNCH), 1, None)]
    assert sum(one.found for one in scores) >= 20  # of 24
    assert sum(one.named for one in scores) >= 0.85 * sum(one.found for one in scores)


def scores(count: int, kind: str = EVERYTHING) -> list[Found]:
    return [Found(kind, 10, count, count, 0.03, 0)]


def test_goals_by_hand() -> None:
    world, slow = "normal, spread 2%", "spread 0.5%, slow by 3%"
    assert missed({world: [Health(2, 3, 0.1), Health(0, 1, 0.1)]}, {slow: scores(10)}) == []
    assert missed({world: [Health(3, 3, 0.1), Health(0, 1, 0.1)]}, {slow: scores(9)}) == [
        "normal, spread 2%: 1.50 healthy GPUs accused a fleet",
        "spread 0.5%, slow by 3%: 90.0% of the slow ones found, of 95%",
    ]
    assert set(PLANTED) >= {slow}


def test_the_page_holds_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "fleet.md"
    copy.write_text(f"before\n{study.BEGIN}\nold\n{study.END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(study, "PAGE", copy)
    lines = [*health_table({"one world": [Health(1, 2, 0.034)]}), "", *found_table({"another": scores(9, MEMORY)})]
    study.write_page(lines, study.of_seeds(range(3)))
    text = copy.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith(f"{study.END}\nafter\n")
    assert "old" not in text
    assert "| one world | 1 | 1.00 | 1 | 2.00 | 3.4% |" in text
    assert "| another | memory only | 3.0% | 90.0% | 10 | 100.0% | 0.00 |" in text
    assert "seeds 0 to 2." in text


READING = Reading(129, 7, 2_500_000, 1.5, 4.0, 5.5, 1_200_000, 250_000_000)


def test_the_times_of_a_page_by_hand() -> None:
    assert reading_table([READING])[-1] == "| 129 | 903 | 2 | 1.5 | 4.0 | 5.5 | 1.2 | 250 |"


@pytest.mark.parametrize(
    ("changed", "lines"),
    [
        ({}, []),
        ({"verdict_s": 10.0, "page_s": 10.0, "page_bytes": 20_000_000}, []),
        ({"verdict_s": 11.0}, ["129 GPUs: the verdict takes 11.0 s, of 10 s"]),
        ({"verdict_s": 9.0, "page_s": 12.0}, ["129 GPUs: verdict and page take 21.0 s, of 20 s"]),
        ({"page_bytes": 21_000_000}, ["129 GPUs: the page has 21.0 MB, of 20 MB"]),
    ],
)
def test_what_reading_may_take(changed: dict[str, float], lines: list[str]) -> None:
    assert missed_by_reading([replace(READING, **changed)]) == lines


@pytest.mark.slow
def test_a_survey_is_read_judged_and_shown() -> None:
    found = reading(3, 7)
    assert (found.gpus, found.points) == (3, 7)
    assert found.journal_bytes / (3 * 7) == pytest.approx(2500, rel=0.05)
    assert min(found.journals_s, found.verdict_s, found.page_s) > 0
    assert found.page_bytes > 1e5
