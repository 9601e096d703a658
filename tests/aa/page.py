"""The table of trials, as text and as docs/aa.md."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benches.devices.cpu import cpu_model
from kernels.guard import ROOT
from reports.compare.comparison import JUDGED
from tests.aa.plant import Plant
from tests.aa.trial import SLOWDOWN, TIMES, Trial

PAGE = ROOT / "docs" / "aa.md"

INTRODUCTION = """# Runs of the same code, and a planted slowdown

What `python -m reports compare` says of runs on a real CPU whose truth is known. Repeat it, on an idle machine, with

    python -m tests.aa --write

- **A/A**: fresh runs of `pytest benches/ --benchmark-only`, one after another, each compared with the one before. The code is the same,
  so whatever is called slower or faster, a point or the mean of a family, is called so falsely.
- **Planted**: two more runs, in which each call of one implementation does its work {before} times, then {after} times: {slowdown:g}× by
  construction, in every sample. Its points are to be found slower, and no others. Points that are also sentinels are left alone.
- **unclear** is no miss: it says that the runs do not tell, most often since other processes took cores while a point was timed.
"""


def table(trials: Sequence[Trial]) -> list[str]:
    lines = ["| runs | pairs | " + " | ".join(JUDGED) + " | whole run | called falsely | planted | found | unclear | missed |"]
    lines.append("|---|" + "---:|" * 10)
    for trial in trials:
        counts = " | ".join(str(trial.verdicts[verdict]) for verdict in JUDGED)
        shift = "–" if trial.shift is None else f"{trial.shift:.3f}×"
        planted = [trial.planted, trial.found, trial.planted_unclear, trial.missed] if trial.planted else ["–"] * 4
        cells = [trial.name, trial.pairs, counts, shift, len(trial.called), *planted]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def result(trials: Sequence[Trial]) -> str:
    """The answer in a sentence."""
    same = [trial for trial in trials if not trial.planted]
    called = sum(len(trial.called) for trial in same)
    parts = [f"{len(same)} A/A pairs of runs with {sum(t.pairs for t in same)} pairs of points: {called} called slower or faster"]
    for trial in trials:
        if trial.planted:
            parts.append(f"of {trial.planted} points slowed by {SLOWDOWN:g}× {trial.found} found, {len(trial.called)} others called")
    return "; ".join(parts) + "."


def falsely(trials: Sequence[Trial]) -> list[str]:
    return [f"- {trial.name}: {point}" for trial in trials for point in trial.called]


def write_page(trials: Sequence[Trial], sweep: str, plant: Plant) -> Path:
    """docs/aa.md, whole."""
    made = f"Made {datetime.now(UTC):%Y-%m-%d} on {cpu_model()}, Python {platform.python_version()}, torch {version('torch')}, "
    made += f"sweep {sweep}, planted in {plant.op}'s {plant.impl}."
    head = INTRODUCTION.format(before=TIMES[0], after=TIMES[1], slowdown=SLOWDOWN)
    wrong = ["", "Called falsely:", "", *falsely(trials)] if falsely(trials) else []
    PAGE.write_text("\n".join([head, "## Found", "", result(trials), "", *table(trials), *wrong, "", made, ""]), encoding="utf-8")
    return PAGE
