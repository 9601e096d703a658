"""A comparison on the terminal: 80 columns are enough, and piped it is plain text."""

from __future__ import annotations

import math
from collections import Counter

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.rule import Rule
from rich.table import Table

from reports.compare.comparison import CHANGED, Comparison
from reports.compare.words import count_line, one_run_line, run_line, sentinel_words, shift_line
from reports.palette import VERDICTS
from reports.units import MISSING, significant
from reports.units import show as shown

STYLES = {"bad": "red", "caution": "yellow", "good": "green", "neutral": "dim"}
SHORT = 10  # rows of each list, unless everything is asked for


def show(found: Comparison, console: Console, everything: bool = False) -> None:
    """What was compared and what differs, changes of status, pairs by verdict, families; the counts last, where a reader looks."""
    for name, report in (("A", found.a), ("B", found.b)):
        console.print(f"[bold]{name}[/bold] {escape(run_line(report))}", highlight=False)
    differs = " · ".join(found.differs) or "no recorded setting, only the time"
    console.print(f"[bold]Differs[/bold] {escape(differs)}", highlight=False)
    for line in (f"{shift_line(found)}{sentinel_words(found)}", one_run_line(found)):
        if line:
            console.print(f"{line}.", markup=False, highlight=False)
    if found.a.environment.kind == "simulated":
        console.print("[yellow]SIMULATED: no GPU was involved; these times come from a model of one.[/yellow]")
    limit = len(found.table) if everything else SHORT
    _changes(found.of(*CHANGED), console, limit)
    for verdict in ("slower", "faster"):
        _pairs(verdict, found.of(verdict), console, limit)
    if everything:
        for verdict in ("unclear", "same"):
            _pairs(verdict, found.of(verdict), console, limit)
        _others(found.of("not paired", "untimed"), console)
    else:
        _unclear(found.of("unclear"), console)
    _families(found, console, limit)
    console.print()
    console.print(f"[bold]{count_line(found)}[/bold] (threshold {100 * found.assumed.threshold:g}%)", highlight=False)


def _title(text: str, verdict: str, console: Console) -> None:
    console.print()
    console.print(Rule(f"[bold {STYLES[VERDICTS[verdict][0]]}]{text}[/]", align="left", style="dim"))


def _changes(rows: pd.DataFrame, console: Console, limit: int) -> None:
    if rows.empty:
        return
    _title(f"Changed status: {len(rows):,}", "fails now", console)
    for row in rows.head(limit).to_dict("records"):
        style = STYLES[VERDICTS[str(row["verdict"])][0]]
        console.print(f"[{style}]{row['verdict']:12}[/] {escape(str(row['point']))}", highlight=False, soft_wrap=True)
        if not str(row["verdict"]).startswith("only"):
            console.print(f"  [dim]{escape(str(row['why']))}[/dim]", highlight=False)
    _more(len(rows) - limit, console)


def _pairs(verdict: str, rows: pd.DataFrame, console: Console, limit: int) -> None:
    if rows.empty:
        return
    _title(f"{verdict.capitalize()}: {len(rows):,}", verdict, console)
    table = _table()
    for name in ("B/A", "95%", "q"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("point", overflow="fold")
    for row in rows.head(limit).to_dict("records"):
        remarks = "; ".join(text for text in (str(row["why"]), f"differs in: {row['noted']}" if row["noted"] else "") if text)
        point = escape(str(row["point"])) + (f"\n[dim]{escape(remarks)}[/dim]" if remarks else "")
        table.add_row(
            f"[bold]{shown(row['ratio'], 'ratio')}[/bold]", _interval(row["low"], row["high"]), shown(row["q"], "probability"), point
        )
    console.print(table)
    _more(len(rows) - limit, console)


def _interval(low: float, high: float) -> str:
    return MISSING if math.isnan(low) else f"{significant(low, 3)}…{shown(high, 'ratio')}"


def _unclear(rows: pd.DataFrame, console: Console) -> None:
    """How many for which reason; a reason's own figures left out."""
    if rows.empty:
        return
    _title(f"Unclear: {len(rows):,}", "unclear", console)
    for reason, count in Counter(rows["why"].str.split(r" \(|: ").str[0]).most_common(SHORT):
        console.print(f"{count:5,}  {escape(str(reason))}", highlight=False)


def _others(rows: pd.DataFrame, console: Console) -> None:
    if rows.empty:
        return
    _title(f"Without a ratio: {len(rows):,}", "untimed", console)
    for row in rows.to_dict("records"):
        console.print(f"{escape(str(row['point']))} [dim]{escape(str(row['why']))}[/dim]", highlight=False)


def _families(found: Comparison, console: Console, limit: int) -> None:
    """Those that changed come first; all pairs together last, whatever is left out."""
    if not found.families:
        return
    console.print()
    console.print(Rule("[bold]By family: geometric means of B/A[/bold]", align="left", style="dim"))
    table = _table()
    for name in ("op", "impl", "precision"):
        table.add_column(name, overflow="fold")
    for name in ("pairs", "B/A", "95%"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("its mean is", no_wrap=True)
    for family in [*found.families[:-1][:limit], found.families[-1]]:
        names = [escape(name) for name in (family.op, family.impl, family.precision)]
        verdict = f"[{STYLES[VERDICTS[family.verdict][0]]}]{family.verdict}[/]" if family.verdict else ""
        table.add_row(*names, f"{family.pairs:,}", shown(family.ratio, "ratio"), _interval(family.low, family.high), verdict)
    console.print(table)
    _more(len(found.families) - 1 - limit, console)


def _more(left: int, console: Console) -> None:
    if left > 0:
        console.print(f"[dim]and {left:,} more: --all, or the page[/dim]", highlight=False)


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
