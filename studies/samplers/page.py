"""The samplers' table, as text and as part of docs/samplers.md."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benches.devices.cpu import cpu_model
from kernels.guard import ROOT
from studies.marked import replace_between
from studies.samplers.goals import NVBENCH, OURS, Goal
from studies.samplers.rules import RULES
from studies.samplers.trial import Outcome

PAGE = ROOT / "docs" / "samplers.md"
BEGIN, END = "<!-- made by python -m studies.samplers --write -->", "<!-- end -->"


def percent(value: float, signed: bool = False) -> str:
    return "–" if math.isnan(value) else f"{value:{'+' if signed else ''}.2%}"


def verdict(outcome: Outcome) -> str:
    """Shares by status; all of one needs no figure."""
    if len(outcome.verdicts) == 1:
        return next(iter(outcome.verdicts))
    return ", ".join(f"{status} {share:.1%}" for status, share in outcome.verdicts.items())


def ours_table(outcomes: Sequence[Outcome]) -> list[str]:
    lines = ["| scenario | verdict | bias | worst run | coverage | device s | nvbench's s |", "|---|---|---:|---:|---:|---:|---:|"]
    theirs = {o.scenario.name: o.device_s for o in outcomes if o.sampler == NVBENCH}
    for o in outcomes:
        if o.sampler == OURS:
            held = "–" if math.isnan(o.coverage) else f"{o.coverage:.1%}"
            nvbench_s = theirs.get(o.scenario.name, math.nan)
            figures = f"{percent(o.bias, True)} | {percent(o.worst)} | {held} | {o.device_s:.2f} | {nvbench_s:.2f}"
            lines.append(f"| {o.scenario.name} | {verdict(o)} | {figures} |")
    return lines


def peers_table(outcomes: Sequence[Outcome]) -> list[str]:
    """Bias and device seconds of every sampler; where there is no truth, what it called the result."""
    lines = ["| scenario | " + " | ".join(RULES) + " |", "|---" * (len(RULES) + 1) + "|"]
    cells: dict[str, dict[str, str]] = {}
    for o in outcomes:
        said = verdict(o) if math.isnan(o.bias) else f"{percent(o.bias, True)} in {o.device_s:.2f} s"
        cells.setdefault(o.scenario.name, {})[o.sampler] = said
    return lines + [f"| {name} | " + " | ".join(row.get(rule, "–") for rule in RULES) + " |" for name, row in cells.items()]


def goals_table(goals: Sequence[Goal]) -> list[str]:
    lines = ["| to reach | measured | limit | |", "|---|---:|---:|---|"]
    for goal in goals:
        limit, met = f"{'≥' if goal.at_least else '≤'} {goal.limit:g}", "met" if goal.met else "NOT MET"
        lines.append(f"| {goal.name} | {goal.value:.3g} | {limit} | {met} |")
    return lines


def table_text(outcomes: Sequence[Outcome], goals: Sequence[Goal]) -> str:
    return "\n".join(["", *ours_table(outcomes), "", *peers_table(outcomes), "", *goals_table(goals), ""])


def write_page(outcomes: Sequence[Outcome], goals: Sequence[Goal], seeds: int, peer_seeds: int) -> Path:
    """Replaces what stands between the two marks of docs/samplers.md. Raises ValueError where they are missing."""
    when = f"Made {datetime.now(UTC):%Y-%m-%d} on {cpu_model()}, Python {platform.python_version()}; time is virtual, so the machine "
    made = f"{when}does not matter. Seeds 0 to {seeds - 1} for ours and 0 to {peer_seeds - 1} for the others."
    ours = ["### Ours", "", *ours_table(outcomes)]
    parts = [made, "", *goals_table(goals), "", *ours, "", "### All, bias and device time", "", *peers_table(outcomes)]
    return replace_between(PAGE, BEGIN, END, parts)
