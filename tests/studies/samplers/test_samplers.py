"""The benchmark of samplers in small: a few scenarios at a few seeds, every rule, the page."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from studies.samplers import page
from studies.samplers.goals import goals
from studies.samplers.rules import RULES
from studies.samplers.scenarios import Scenario, scenarios
from studies.samplers.trial import trial

pytestmark = pytest.mark.slow

BY_NAME = {scenario.name: scenario for scenario in scenarios()}
QUICK = ("8 us", "300 us", "80 ms", "1 ms, 5% outliers x2", "1 ms, thermal spell of 0.4 s")
SEEDS = range(12)


@pytest.mark.parametrize("name", QUICK)
def test_ours_is_unbiased_where_it_says_ok(name: str) -> None:
    outcome = trial("ours", BY_NAME[name], SEEDS)
    assert abs(outcome.bias) <= 0.005
    assert outcome.coverage >= 11 / 12
    assert outcome.verdicts.get("ok", 0) >= 11 / 12


@pytest.mark.parametrize("scenario", [s for s in BY_NAME.values() if s.expected != "ok"], ids=lambda s: s.name)
def test_what_cannot_converge_is_never_ok(scenario: Scenario) -> None:
    assert trial("ours", scenario, range(3)).verdicts == {scenario.expected: 1.0}


@pytest.mark.parametrize(
    ("rule", "name", "bias"),
    [
        ("nvbench stdrel", "300 us", 0.0),
        ("do_bench", "300 us", 0.0),
        ("do_bench_cudagraph", "2 us hot", 0.0),
        ("do_bench_cudagraph", "8 us", -0.3),  # hot: 0.7 of the cold time
        ("Inductor's minimum", "1 ms, 5% outliers x2", -0.015),
        ("fixed 100", "30 us hot", 0.31),  # 6 us of the host in 21 us, since nothing holds the stream, and an event
        ("do_bench", "1 ms, 5% outliers x2", 0.05),
    ],
)
def test_published_rules_do_what_is_known_of_them(rule: str, name: str, bias: float) -> None:
    assert trial(rule, BY_NAME[name], range(5)).bias == pytest.approx(bias, abs=0.025)


def test_the_page_holds_every_scenario_and_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = [trial(rule, BY_NAME[name], range(2)) for name in ("300 us", "80 ms, drift 10%/s") for rule in RULES]
    copy = tmp_path / "samplers.md"
    copy.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(page, "PAGE", copy)
    page.write_page(outcomes, goals(outcomes), 2, 2)
    text = copy.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith(f"{page.END}\nafter\n")
    assert "old" not in text
    assert all(rule in text for rule in RULES)
    assert "| 300 us | ok |" in text
    assert "| 80 ms, drift 10%/s | noisy |" in text
    assert [goal.met for goal in goals(outcomes)[:2]] == [True, True]
    assert math.isnan(next(o.bias for o in outcomes if not o.scenario.has_truth))
