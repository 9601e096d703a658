"""What the sections read: a run's frame, its environment, and what was wrong with its files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from benches.row import FAILED
from benches.run.journal import NAME, read_journal
from reports.environment import Environment, load_environment
from reports.frame import build_frame
from reports.refusal import RunError

# Seen in 1,462 pairs of runs (python -m studies.aa); reports/compare/noise.py takes its `alone` from them.
BETWEEN_CPU_RUNS = (
    "runs of the same code on a shared CPU differ by 1% in some points and by 15% in others, which live in a shared cache; of 1,462 pairs "
    "the furthest differed by 1.83×"
)


@dataclass(frozen=True)
class Report:
    """`frame` has a default index 0 … n−1; charts and table address a point by it."""

    run_dir: Path
    frame: pd.DataFrame
    environment: Environment
    problems: list[str]  # damaged journal lines, a missing environment: said on the page and on stderr

    @cached_property
    def timed(self) -> pd.DataFrame:
        return self.frame[self.frame["median_s"].notna()]

    @cached_property
    def failed(self) -> pd.DataFrame:
        return self.frame[self.frame["status"].isin(FAILED)]

    @property
    def on_cpu(self) -> bool:
        return self.environment.kind == "cpu"


def load_report(run_dir: Path) -> Report:
    """Reads a run directory. Raises RunError where there is no directory, no journal, or no readable row in it."""
    try:
        if not run_dir.is_dir():  # which raises where this user may not look
            raise RunError(f"{run_dir}: no such run directory")
        contents = read_journal(run_dir)
    except OSError as error:
        raise RunError(f"{run_dir}: no readable {NAME}: {error.strerror}") from error
    problems = contents.notes()
    if not contents.rows:
        raise RunError(f"{run_dir / NAME}: no rows" + (f" ({problems[0]})" if problems else ""))
    environment = load_environment(run_dir)
    frame = build_frame(contents.rows, environment)
    return Report(run_dir, frame, environment, problems + environment.problems)
