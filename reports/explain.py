"""`python -m reports explain RUN POINT`: where a point's time goes, from its peak down to what was measured, and which shapes do better."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rich.markup import escape
from rich.table import Table

from kernels.console import open_console
from reports.neighbours import neighbour_lines
from reports.refusal import RunError
from reports.report import Report, load_report
from reports.units import show

# Columns whose seconds add up to median_s, and what each is in words.
TERMS = {
    "napkin_s": "computing at the peak",
    "tiles_s": "tiles and waves that are not full, a loop below the peak",
    "traffic_s": "bandwidth: moving bytes",
    "launches_s": "launches",
    "clock_s": "a clock below the boost clock",
    "unexplained_s": "not explained by the cost model",
}
BAR = 24  # characters of the longest bar


def terms_of(row: pd.Series) -> list[tuple[str, float]]:
    """What the time is made of, in words, seconds; they add up to the median. Empty where it was not timed or no peak is known."""
    seconds = [(words, float(row[name])) for name, words in TERMS.items()]
    return [] if any(np.isnan(value) for _, value in seconds) else seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument("point", metavar="POINT", help="a point's id, as tables and the page show it")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Raises RunError where the run or the point is not there, or the point has no time or no peak."""
    report = load_report(given.run_dir)
    row = row_of(report, given.point)
    terms = terms_of(row)
    if not terms:
        untimed, unknown = f"its status is {row['status']}", f"no peak of {row['precision']} is known for this device"
        raise RunError(f"{given.point}: nothing to explain, {untimed if np.isnan(row['median_s']) else unknown}")
    _print(report, row, terms)
    return 0


def row_of(report: Report, point: str) -> pd.Series:
    """The row of a point. Raises RunError, which names the nearest ids, where the run does not have it."""
    rows = report.frame[report.frame["point"] == point]
    if rows.empty:
        near = difflib.get_close_matches(point, report.frame["point"].tolist(), 3, 0.5)
        raise RunError(f"{report.run_dir}: no point {point!r}" + (f"; did you mean {', '.join(near)}?" if near else ""))
    return rows.iloc[0]


def _print(report: Report, row: pd.Series, terms: Sequence[tuple[str, float]]) -> None:
    console = open_console()
    share = f", {show(row['peak_fraction'], 'fraction')} of {row['precision']}'s peak" if row["flops"] else ""
    console.print(f"[bold]{escape(str(row['point']))}[/bold]: {show(row['median_s'], 's')}{share}", highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for align in ("right", "right", "left", "left"):
        table.add_column(justify=align, no_wrap=align == "right")
    longest = max(abs(seconds) for _, seconds in terms)
    for words, seconds in terms:
        bar = "■" * round(BAR * abs(seconds) / longest)
        table.add_row(show(seconds, "s"), show(seconds / row["median_s"], "fraction"), bar if seconds >= 0 else f"[dim]{bar}[/dim]", words)
    table.add_row(show(row["median_s"], "s"), "100.0%", "", "measured")
    console.print(table)
    if not np.isnan(row["bound_s"]):
        console.print(
            f"The compiled kernel takes at least {show(row['bound_s'], 's')}, limited by {row['bound_limited_by']}. The measured time is "
            f"{show(row['measured_over_bound'], 'ratio')} this bound.",
            highlight=False,
        )
    for line in neighbour_lines(row.to_frame().T, report.environment.ceilings)[0]:
        console.print(line, highlight=False)
