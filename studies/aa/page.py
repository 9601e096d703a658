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
from reports.compare.noise import CPU
from studies.aa.plant import Plant
from studies.aa.trial import SLOWDOWN, THREADS, TIMES, Trial

PAGE = ROOT / "docs" / "aa.md"

INTRODUCTION = """# Runs of the same code, and a planted slowdown

What `python -m reports compare` and `python -m reports nightly` say of runs on a real CPU whose truth is known. Repeat it, on an idle
machine, with

    python -m studies.aa --write

- **Same code**: fresh runs of `pytest benches/ --benchmark-only --sweep {sweep} -k "not triton"`, one after another (Triton has no CPU
  target and is not timed), with {threads} thread. One run a side: each is compared with the one before; on a CPU `compare` then calls
  nothing below {alone:g}×, so that few false calls say little of its statistics. Several runs a side: of a row of runs the 1st, 3rd, 5th …
  are set against the others, beginning with each run in turn, so that these comparisons overlap. Whatever is called slower or faster, a
  point or the mean of a family, is called so falsely.
- **Slowed**: runs in which each call of one implementation does its work {after} times, alternating with runs in which it does it {before}
  times: {slowdown:.2f}× by construction, in every sample. Its points are to be found slower, and no others. Points that are also sentinels
  are left alone.
- **Nightly**: runs as nights of a history, each judged by those before it, as soon as there are enough; a comparison is a night, a pair a
  series of a night, slower and faster are confirmed.
- **unclear** is no miss: it says that the runs do not tell.
"""
COLUMNS = ("", "comparisons", "pairs", *JUDGED, "called falsely", "planted", "found", "unclear", "missed")


def table(trials: Sequence[Trial]) -> list[str]:
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|" + "---:|" * (len(COLUMNS) - 1)]
    for trial in trials:
        counts = [trial.verdicts[verdict] for verdict in JUDGED]
        planted = [trial.planted, trial.found, trial.unclear, trial.missed] if trial.planted else ["–"] * 4
        lines.append(f"| {' | '.join(map(str, [trial.name, trial.comparisons, trial.pairs, *counts, len(trial.called), *planted]))} |")
    return lines


def result(trials: Sequence[Trial]) -> str:
    """The answer, a sentence a trial."""
    said = []
    for trial in trials:
        of = "series and night" if trial.nightly else "pairs of points"
        found = f", and {trial.found} of {trial.planted} slowed by {SLOWDOWN:.2f}× found" if trial.planted else ""
        nights = f" {trial.suspect} of {trial.comparisons} nights were suspect." if trial.nightly else ""
        said.append(f"{trial.name[0].upper()}{trial.name[1:]}: of {trial.pairs} {of} {len(trial.called)} called falsely{found}.{nights}")
    return "\n".join(said)


def falsely(trials: Sequence[Trial]) -> list[str]:
    return [f"- {called}" for trial in trials for called in trial.called]


def write_page(trials: Sequence[Trial], sweep: str, plant: Plant) -> Path:
    """docs/aa.md, whole."""
    made = f"Made {datetime.now(UTC):%Y-%m-%d} on {cpu_model()}, Python {platform.python_version()}, torch {version('torch')}, "
    made += f"sweep {sweep}, slowed in {plant.op}'s {plant.impl}."
    times = {"before": TIMES[0], "after": TIMES[1], "slowdown": SLOWDOWN}
    head = INTRODUCTION.format(**times, sweep=sweep, threads=THREADS, alone=CPU.alone)
    wrong = ["", "Called falsely:", "", *falsely(trials)] if falsely(trials) else []
    said = [f"- {line}" for line in result(trials).splitlines()]
    PAGE.write_text("\n".join([head, "## Found", "", *said, "", *table(trials), *wrong, "", made, ""]), encoding="utf-8")
    return PAGE
