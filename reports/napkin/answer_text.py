"""Answers on the terminal: 80 columns are enough, and piped they are plain text."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import ROUNDED
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table

from reports.napkin.published import EXPLAIN, Published, cells
from reports.napkin.sensitivity import MEASURES
from reports.napkin.steps import Answer, Group

BAR = 30  # characters of the longest


def show(answer: Answer, console: Console) -> None:
    """What was asked, what the answer rests on, each step, and last, where a reader looks, the answer."""
    console.print(Rule(f"[bold]{escape(answer.question.name)}[/bold]", align="left", style="dim"))
    console.print(answer.asked, markup=False, highlight=False)
    console.print()
    console.print(f"[bold]Assumptions[/bold], to be changed in {escape(answer.question.file)}", highlight=False)
    console.print(_assumptions(answer))
    for group in answer.groups:
        console.print()
        console.print(f"[bold]{escape(group.title)}[/bold]", highlight=False)
        console.print(_steps(group))
    if answer.sensitivity:
        console.print()
        what = MEASURES[answer.question.ask][0]
        console.print(f"[bold]Effect of changing each assumption by 10% down and up: {escape(what)}[/bold]", highlight=False)
        console.print(_sensitivity(answer))
    console.print()
    for remark in answer.remarks:
        console.print(f"• {remark}", markup=False, highlight=False)
    lines = [f"[bold green]{escape(answer.headline)}[/bold green]", *map(escape, answer.beneath)]
    console.print(Panel.fit("\n".join(lines), box=ROUNDED, padding=(0, 2)))


def show_published(runs: Sequence[Published], console: Console) -> None:
    """Each published figure beside the answer, with the cause of the difference."""
    for run in runs:
        source, quantity, value, answered, deviation, cause, read = cells(run)
        console.print(f"[bold]{escape(quantity)}[/bold]", highlight=False)
        console.print(f"  {source} ({read})", markup=False, highlight=False)
        console.print(f"  published {value}, answered {answered}: {deviation}, {cause}", markup=False, highlight=False)
    far = sum(abs(run.deviation) > EXPLAIN for run in runs)
    console.print(f"{len(runs)} published figures, {far} of them more than {EXPLAIN:.0%} off.", markup=False, highlight=False)


def _assumptions(answer: Answer) -> Table:
    table = _table()
    for _ in range(3):
        table.add_column(overflow="fold")
    for taken in answer.question.assumptions:
        table.add_row(escape(taken.key), escape(taken.value), f"[dim]{escape(taken.origin)}[/dim]")
    return table


def _sensitivity(answer: Answer) -> Table:
    """A bar for each assumption, as long as the larger of both changes."""
    table = _table()
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, style="dim")
    longest = max(one.largest for one in answer.sensitivity)
    for one in answer.sensitivity:
        bar = "█" * max(1, round(BAR * one.largest / longest))
        table.add_row(escape(one.key), f"{100 * one.less:+z.1f}%", f"{100 * one.more:+z.1f}%", bar)
    return table


def _steps(group: Group) -> Table:
    table = _table()
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    table.add_column(justify="right", no_wrap=True, style="bold")
    for step in group.steps:
        table.add_row(escape(step.what), escape(step.how), f"= {escape(step.text)}")
    return table


def _table() -> Table:
    return Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
