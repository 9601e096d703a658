"""What a run found, on the terminal: a line for each op, implementation and precision, then what failed. 80 columns are enough."""

from __future__ import annotations

import io
from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from kernels.console import text_console
from kernels.listed import and_more
from reports.palette import STATUSES, UNKNOWN_STATUS
from reports.pick import largest
from reports.report import Report
from reports.units import MISSING, SPACE, cut, show

WIDTH = 80  # columns: what a terminal has at least, and a CI log shows
FAILURES = 8  # reasons that are listed, those of the most points first
STYLES = {"bad": "red", "caution": "yellow", "good": "green", "neutral": "dim"}


def run_text(report: Report, colour: bool = False, width: int = WIDTH) -> str:
    """The whole summary, as the terminal shows it; `colour` with ANSI colours."""
    out = io.StringIO()
    console = text_console(out, width, colour)
    if not report.timed.empty:
        console.print(_families(report))
    for line in (_slowest(report, width), *_failures(report, width), _counts(report)):
        if line:
            console.print(line, highlight=False)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _families(report: Report) -> Table:
    """A row for each op, implementation and precision that was timed: MFU on a GPU, on a CPU the share of its own measured peak."""
    share, name = ("peak_fraction", "peak") if report.on_cpu else ("mfu", "MFU")
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for title in ("op", "impl", "precision"):
        table.add_column(title, no_wrap=True)
    for title in ("timed", "median\nFLOP/s", "best\nFLOP/s", f"best\n{name}", "best\nbandw.", "slowest\n/pred."):
        table.add_column(title, justify="right", no_wrap=True)
    for (op, impl, precision), rows in report.frame.groupby(["op", "impl", "precision"], sort=True):
        timed = rows[rows["median_s"].notna()]
        if timed.empty:
            continue  # the counts by status have these
        computes = timed["flops"] > 0
        rates = timed["flops_per_s"].where(computes)
        table.add_row(
            *(escape(cut(str(text), size)) for text, size in ((op, 11), (impl, 13), (precision, 9))),
            f"{len(timed)}/{len(rows)}",
            *(_rate(rate) for rate in (rates.median(), rates.max())),
            *(show(float(values.max()), "fraction") for values in (timed[share].where(computes), timed["bandwidth_fraction"])),
            _ratio(timed["measured_over_predicted"].max()),
        )
    return table


def _rate(flops_per_s: float) -> str:
    """Three digits with the SI prefix; the heading has the unit."""
    if not flops_per_s > 0:
        return MISSING
    number, _, unit = show(flops_per_s, "FLOP/s").partition(SPACE)
    return f"{float(number.replace(',', '')):.3g}{SPACE}{unit.removesuffix('FLOP/s')}"


def _ratio(ratio: float) -> str:
    return show(ratio, "ratio") if ratio > 0 else MISSING


def _slowest(report: Report, width: int) -> str:
    """The point that took longest against its prediction."""
    ratios = report.timed["measured_over_predicted"]
    if not ratios.notna().any():
        return ""
    worst = largest(report.timed, ratios)
    text = f"slowest against its prediction: {show(worst['measured_over_predicted'], 'ratio')} "
    return escape(text + cut(str(worst["point"]), max(20, width - len(text))))


def _failures(report: Report, width: int) -> Iterator[str]:
    """A line for each status and reason, with a point that shows it; reasons of many points first."""
    groups = report.failed.assign(reason=report.failed["reason"].fillna("no reason given")).groupby(["status", "reason"], sort=False)
    found = sorted(groups, key=lambda group: -len(group[1]))
    for (status, reason), rows in found[:FAILURES]:
        first = cut(str(rows["point"].iloc[0]), 48)
        yield f"[red]{escape(str(status))}[/red] {escape(first)}{and_more(len(rows) - 1)}"
        yield f"  {escape(cut(' '.join(str(reason).split()), 2 * width - 4))}"
    if len(found) > FAILURES:
        yield f"and {len(found) - FAILURES} more reasons: the page has them"


def _counts(report: Report) -> str:
    """Points by status, those that deserve attention first."""
    counts = report.frame["status"].value_counts()
    known = [*STATUSES, *sorted(set(counts.index) - set(STATUSES))]
    words = [f"[{STYLES[STATUSES.get(s, UNKNOWN_STATUS)[0]]}]{counts[s]} {escape(s)}[/]" for s in known if s in counts]
    simulated = " [yellow](SIMULATED: no GPU was involved)[/yellow]" if report.environment.kind == "simulated" else ""
    points = "1 point" if len(report.frame) == 1 else f"{len(report.frame):,} points"
    return f"{points}{simulated}: {', '.join(words)}"
