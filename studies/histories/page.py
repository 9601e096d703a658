"""The table of histories, as text and as part of docs/verdicts.md."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from kernels.guard import ROOT
from studies.histories.goals import Goal
from studies.histories.score import Score
from studies.marked import replace_between

PAGE = ROOT / "docs" / "verdicts.md"
BEGIN, END = "<!-- made by python -m studies.histories --write -->", "<!-- end -->"
Table = Mapping[str, Mapping[str, Score]]  # world: rule: score


def percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1%}"


def goals_table(goals: Sequence[Goal]) -> list[str]:
    lines = ["| to reach | measured | limit | |", "|---|---:|---:|---|"]
    for goal in goals:
        shown = percent(goal.value) if goal.at_least else f"{goal.value:.2f}"
        limit = f"≥ {percent(goal.limit)}" if goal.at_least else f"≤ {goal.limit:.1f}"
        lines.append(f"| {goal.name} | {shown} | {limit} | {'met' if goal.met else 'NOT MET'} |")
    return lines


def worlds_table(table: Table) -> list[str]:
    lines = [
        "| nights | rule | false per 1,000 | found within 4 | within 14 | located to a night | series-nights | steps |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for world, scores in table.items():
        for rule, s in scores.items():
            located = percent(s.located / s.later) if s.located else "–"
            shares = f"{percent(s.share(s.soon))} | {percent(s.share(s.later))} | {located}"
            lines.append(f"| {world} | {rule} | {s.false_per_1000:.2f} | {shares} | {s.quiet:,} | {s.steps:,} |")
    return lines


def table_text(table: Table, goals: Sequence[Goal]) -> str:
    return "\n".join([*worlds_table(table), "", *goals_table(goals)])


def write_page(table: Table, goals: Sequence[Goal], seeds: range) -> str:
    """Replaces what stands between the two marks of docs/verdicts.md. Raises ValueError where they are missing."""
    made = f"Made {datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, seeds {seeds.start} to {seeds.stop - 1}."
    parts = [made, "", *goals_table(goals), "", *worlds_table(table)]
    return str(replace_between(PAGE, BEGIN, END, parts))
