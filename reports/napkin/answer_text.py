"""Answers on the terminal: 80 columns are enough, and piped they are plain text."""

from __future__ import annotations

from rich.box import ROUNDED
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table

from reports.napkin.answer import Answer
from reports.napkin.steps import Group


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
    console.print()
    for remark in answer.remarks:
        console.print(f"• {remark}", markup=False, highlight=False)
    console.print(Panel.fit(f"[bold green]{escape(answer.headline)}[/bold green]", box=ROUNDED, padding=(0, 2)))


def _assumptions(answer: Answer) -> Table:
    table = _table()
    for _ in range(3):
        table.add_column(overflow="fold")
    for taken in answer.question.assumptions:
        table.add_row(escape(taken.key), escape(taken.value), f"[dim]{escape(taken.origin)}[/dim]")
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
