"""A verdict on the terminal: the night in one line first, then what changed, worst first."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from reports.nightly.model import Change, Verdict
from reports.nightly.words import cause, change_line, commits_line, rerun_command, status_line, warning_line

SHOWN = 10  # of each list
COLOURS = {0: "green", 1: "red", 3: "yellow"}


def show(verdict: Verdict, console: Console) -> None:
    """Prints all of it; long lists are cut, and say so."""
    if verdict.simulated:
        console.print("[yellow]SIMULATED: these times come from a model of a GPU[/yellow]")
    console.print(f"[bold {COLOURS[verdict.exit_code]}]{escape(verdict.headline)}[/]", highlight=False)
    for line in verdict.suspect:
        console.print(f"  [yellow]suspect[/yellow]  {escape(line)}", highlight=False)
    for change in verdict.confirmed[:SHOWN]:
        _change(change, verdict, console)
    _more(len(verdict.confirmed), console)
    _list("changed status", [status_line(one) for one in verdict.statuses], console)
    _list("unusual tonight, not confirmed", [warning_line(one) for one in verdict.warnings], console)
    _list("accepted", [f"{change_line(change)}: {change.accepted}" for change in verdict.accepted], console)
    earlier = [change for change in verdict.changes if not change.tonight and change.accepted is None]
    _list("confirmed on earlier nights", [f"{change_line(change)}, confirmed {change.confirmed_night}" for change in earlier], console)
    _list("notes", list(verdict.notes), console)


def _change(change: Change, verdict: Verdict, console: Console) -> None:
    colour = "red" if change.direction == "slower" else "green"
    console.print(f"  [{colour}]{change.direction}[/]   {escape(change_line(change))}", highlight=False)
    told = [f"{cause(change)}", *(f"· {line}" for line in change.attribution.evidence), commits_line(change)]
    told.append(rerun_command(change.point, verdict.run_dir))
    for line in filter(None, told):
        console.print(Padding(escape(line), (0, 0, 0, 11)), highlight=False)


def _list(title: str, lines: list[str], console: Console) -> None:
    if not lines:
        return
    console.print(f"[bold]{title}[/bold] ({len(lines)})", highlight=False)
    for line in lines[:SHOWN]:
        console.print(Padding(escape(line), (0, 0, 0, 2)), highlight=False)
    _more(len(lines), console)


def _more(count: int, console: Console) -> None:
    if count > SHOWN:
        console.print(f"  … and {count - SHOWN} more: the page and the JSON hold all", style="dim", highlight=False)
