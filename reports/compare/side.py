"""One side of a comparison: a run, or several of the same code, whose medians of a point are one time with a spread between runs."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from benches.row import DISTURBED, FAILED, TIMED
from kernels.listed import and_more
from reports.compare.differences import differences, fields
from reports.distributions import t_quantile
from reports.environment import Environment
from reports.refusal import RunError
from reports.report import Report

LEVEL = 0.99  # of the interval of a point's time between runs, as of a median's within one
Record = dict[Hashable, Any]  # a row of a frame
HOW = ["regime", "cache"]  # never set side by side where they differ


@dataclass(frozen=True)
class Side:
    """`frame`: a line a point, as of a run. Of several runs `run_medians_s` holds its median in each that has it, and `present` says in how
    many that is, if not in all."""

    reports: Sequence[Report]  # in the order given
    frame: pd.DataFrame

    @property
    def last(self) -> Report:
        """Whose environment stands for all."""
        return self.reports[-1]

    @property
    def environment(self) -> Environment:
        return self.last.environment

    @property
    def name(self) -> str:
        """run-3, or run-3 and 2 more."""
        return f"{self.last.run_dir.resolve().name}{and_more(len(self.reports) - 1)}"

    @property
    def problems(self) -> list[str]:
        """Of its runs' files, each with its run; and in what its runs differ, though they are to be the same."""
        found = [f"{report.run_dir}: {problem}" for report in self.reports for problem in report.problems]
        for report in self.reports[:-1]:
            told = fields(report.environment.fields, self.environment.fields)
            differ = differences([field for field in told if field.name != "seed"])  # of the order of points
            if differ:
                found.append(f"{report.run_dir} and {self.last.run_dir} are taken as the same, but differ: {'; '.join(differ)}")
        return found


def side(reports: Sequence[Report]) -> Side:
    """Raises RunError where runs of one side were taken in different ways."""
    if len(reports) == 1:
        return Side(reports, reports[0].frame.assign(run_medians_s=None, present=None))
    for name in HOW:
        ways = [sorted(report.frame[name].dropna().unique()) for report in reports]
        if len(set().union(*ways)) > 1:
            told = ", ".join(f"{report.run_dir} {'/'.join(way)}" for report, way in zip(reports, ways, strict=True))
            raise RunError(f"all runs of one side must be made in the same way, but their {name} differs: {told}")
    lines: dict[str, list[Record]] = {str(point): [] for report in reversed(reports) for point in report.frame["point"]}
    for report in reports:
        for record in report.frame.to_dict("records"):
            lines[record["point"]].append(record)
    frame = pd.DataFrame([_one(of_point) for of_point in lines.values()])
    frame["present"] = [None if len(of) == len(reports) else f"in {len(of)} of {len(reports)} runs" for of in lines.values()]
    return Side(reports, frame)


def _one(lines: Sequence[Record]) -> Record:
    """A point's line for all runs. One that fails in a run fails: a point that crashes sometimes crashes."""
    untimed = [line for line in lines if line["status"] not in TIMED]
    failed = [line for line in untimed if line["status"] in FAILED]
    if untimed:
        return {**(failed or untimed)[-1], "run_medians_s": None}
    # What made a median noisy is in its spread from run to run, but for other processes: those may have been there on one side only.
    doubtful = [line for line in lines if line["cause"] == DISTURBED]
    heat = [line for line in lines if line["status"] == "throttled"]
    status = "throttled" if heat else "noisy" if 2 * len(doubtful) > len(lines) else "ok"
    said = heat or doubtful
    medians = [line["median_s"] for line in lines]
    middle, low, high = between(medians)
    return {
        **lines[-1],
        "status": status,
        "reason": None if status == "ok" else f"in {len(said)} of {len(lines)} runs: {said[-1]['reason']}",
        **{"median_s": middle, "ci_low_s": low, "ci_high_s": high, "run_medians_s": medians, "process_medians_s": None},
        **{"samples": sum(line["samples"] for line in lines), "samples_s": [s for line in lines for s in line["samples_s"]]},
    }


def between(medians_s: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean of several runs' medians, and its interval by Student's t; NaN where there is one run only."""
    logs = np.log(medians_s)
    error = logs.std(ddof=1) / math.sqrt(len(logs)) if len(logs) > 1 else math.nan
    reach = float(t_quantile((1 + LEVEL) / 2, len(logs) - 1)) * error
    return math.exp(logs.mean()), math.exp(logs.mean() - reach), math.exp(logs.mean() + reach)
