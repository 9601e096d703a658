"""`python -m reports explain RUN POINT`: where a point's time goes, from its peak down to what was measured, and which shapes do better."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from rich.markup import escape
from rich.table import Table

from kernels.console import open_console
from kernels.cost_model import predict
from kernels.gpus import Ceilings
from kernels.op import OpError, Point
from kernels.registry import OPS, point_of
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
STEPS = (64, 128, 256)  # whose multiples tiles fill
BETTER = 1.02  # times the rate, from which another shape is worth naming
BAR = 24  # characters of the longest bar


@dataclass(frozen=True)
class Neighbour:
    """Another size of one dim, and its predicted rate over the point's own."""

    dim: str
    size: int
    gain: float


def terms_of(row: pd.Series) -> list[tuple[str, float]]:
    """What the time is made of, in words, seconds; they add up to the median. Empty where it was not timed or no peak is known."""
    seconds = [(words, float(row[name])) for name, words in TERMS.items()]
    return [] if any(np.isnan(value) for _, value in seconds) else seconds


def neighbours(point: Point, ceilings: Ceilings) -> list[Neighbour]:
    """Sizes of a single dim, rounded down and up to what tiles fill, at which more FLOP/s are predicted; the best of each dim."""
    if not OPS[point.op].on_matrix_units:
        return []
    changed = [(dim, size) for dim, before in point.dims.items() for size in _rounded(before)]
    made = [(dim, size, other) for dim, size in changed if (other := _with(point, dim, size)) is not None]
    found = predict([point, *(other for *_, other in made)], ceilings)
    rates = found.flops / found.predicted_s
    gains = [
        Neighbour(dim, size, float(rate / rates[0]))
        for (dim, size, _), rate in zip(made, rates[1:], strict=True)
        if rate >= BETTER * rates[0]
    ]
    best = {one.dim: one for one in sorted(gains, key=lambda one: one.gain)}
    return sorted(best.values(), key=lambda one: -one.gain)


def _rounded(size: int) -> set[int]:
    """Multiples of STEPS just below and above a size, without the size itself."""
    return {around for step in STEPS for around in (size // step * step, -(-size // step) * step) if around > 0} - {size}


def _with(point: Point, dim: str, size: int) -> Point | None:
    """The point with another size of a dim; None where its op refuses that."""
    try:
        return OPS[point.op].point(point.impl, point.precision, {**point.dims, dim: size}, dict(point.options))
    except OpError:
        return None


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
    point, ceilings = point_of(row), report.environment.ceilings
    for one in neighbours(replace(point, impl=str(row["impl"])), ceilings) if point and ceilings else []:
        now = point.dims[one.dim] if point else 0
        console.print(f"{one.dim} = {one.size} instead of {now}: {show(one.gain, 'ratio')} the FLOP/s predicted", highlight=False)
