"""A survey's verdict on the terminal: the answer first, then how GPUs are spread. 80 columns and a screen are enough for any fleet."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from kernels.console import text_console
from kernels.listed import and_more
from reports.run_text import WIDTH
from reports.survey.fleet_history import trends
from reports.survey.judge import SLOW, STATES, WATCH, kind_words
from reports.survey.survey_verdict import SurveyVerdict
from reports.survey.words import common_place, failing, headline, name_of, others, place, slowness, trend_lines
from reports.units import cut, show

ACCUSED, WATCHED, SUSPECT, GROUPS, NOTES = 4, 3, 4, 2, 3  # of each list
FEW = 2  # accused GPUs, up to which each has more than one line on what differs
DIFFERENCES = {True: 4, False: 1}  # with few accused GPUs, and with more
INDENT = (0, 0, 0, 7)
COLOURS = {0: "green", 1: "red", 3: "yellow"}
COLUMNS = ("family", "points", "spread", "5% to 95% of GPUs", "slowest", "slow from", "found from")


def survey_text(verdict: SurveyVerdict, colour: bool = False, width: int = WIDTH) -> str:
    """All of it, as a terminal shows it; `colour` with ANSI colours."""
    out = io.StringIO()
    show_survey(verdict, text_console(out, width, colour))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def show_survey(verdict: SurveyVerdict, console: Console) -> None:
    """Prints the verdict; long lists are cut, and say so."""
    run, judged = verdict.run, verdict.judged
    if run.simulated:
        console.print("[yellow]SIMULATED: these times come from a model of a GPU[/yellow]")
    console.print(f"[bold {COLOURS[judged.exit_code]}]{escape(headline(run, judged))}[/]", highlight=False)
    console.print(_counts(verdict), highlight=False, style="dim")
    accused = judged.accused
    for _, gpu in accused.head(ACCUSED).iterrows():
        _accused(gpu, verdict, console, DIFFERENCES[len(accused) <= FEW])
    _more(len(accused) - ACCUSED, console)
    if shared := common_place(run.boards, list(accused["gpu"])):
        console.print(Padding(escape(shared), INDENT), highlight=False)
    _lines("suspect", judged.suspect, SUSPECT, console)
    for group in list(judged.groups["group"])[:GROUPS]:
        _spreads(group, verdict, console)
    _more(len(judged.groups) - GROUPS, console)
    _lines("watch", _watched(verdict), WATCHED, console)
    _lines("trend", trend_lines(trends(verdict.past), run.boards), WATCHED, console)
    _lines("note", verdict.notes, NOTES, console)


def _counts(verdict: SurveyVerdict) -> str:
    """How many GPUs are in each state, and what was compared."""
    counts = verdict.judged.gpus["state"].value_counts()
    states = ", ".join(f"{counts[state]:,} {state}" for state in STATES if state in counts)
    points = int(verdict.judged.groups["points"].max()) if len(verdict.judged.groups) else 0
    measured = verdict.run.rows["point"].nunique()
    compared = f"{points:,}{f' of {measured:,}' if measured > points else ''} point{'s' if max(points, measured) != 1 else ''} compared"
    return escape(f"{states}; {compared}; begun {verdict.run.file.started_utc}")


def _accused(gpu: Any, verdict: SurveyVerdict, console: Console, most: int) -> None:
    board = verdict.run.boards.set_index("gpu", drop=False).loc[gpu["gpu"]]
    slow = gpu["state"] == SLOW
    what = [slowness(verdict.judged, gpu)] if slow else []
    what += [told] if (told := failing(gpu)) else []
    line = f"[red]{'slow' if slow else 'fails':<6}[/red] [bold]{escape(name_of(board))}[/bold] {escape('; '.join(what))}"
    console.print(line, highlight=False)
    about = [place(board), str(board["gpu"]), before_words(verdict, str(board["gpu"]))]
    differences = verdict.differences.get(str(gpu["gpu"]), [])
    found = [*differences[:most]] or ["nothing recorded differs from the other GPUs of its model"]
    for text in filter(None, (others(verdict.judged, gpu) if slow else "", "; ".join(filter(None, about)), *found)):
        console.print(Padding(escape(text), INDENT), highlight=False)
    if len(differences) > most > 1:
        _more(len(differences) - most, console)


def before_words(verdict: SurveyVerdict, gpu: str) -> str:
    """Whether earlier surveys called a GPU slow; empty without a history, or where none judged it."""
    if gpu not in verdict.history.index:
        return ""
    slow, judged = (int(verdict.history[name].loc[gpu]) for name in ("slow", "judged"))
    surveys = f"{judged} earlier survey{'s' if judged > 1 else ''}"
    return f"slow before as well ({slow} of {surveys})" if slow else f"not slow in {surveys}"


def _watched(verdict: SurveyVerdict) -> list[str]:
    boards = verdict.run.boards.set_index("gpu")
    watched = verdict.judged.gpus[verdict.judged.gpus["state"] == WATCH].sort_values("worst", ascending=False)
    return [f"{name_of(boards.loc[gpu['gpu']])} {slowness(verdict.judged, gpu)}" for _, gpu in watched.iterrows()]


def _spreads(group: int, verdict: SurveyVerdict, console: Console) -> None:
    """A line a family: how healthy GPUs are spread, and what that lets find."""
    spreads = verdict.judged.spreads[verdict.judged.spreads["group"] == group]
    if spreads.empty:
        return
    line = verdict.judged.groups.set_index("group").to_dict("index")[group]
    console.print(escape(cut(f"{line['gpus']:,} GPUs: {kind_words(line)}", WIDTH)), highlight=False, style="dim")
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for title in COLUMNS:
        table.add_column(title, justify="left" if title == COLUMNS[0] else "right", no_wrap=True)
    for one in spreads.to_dict("records"):
        table.add_row(
            str(one["family"]),
            f"{one['points']:,}",
            show(one["spread"], "fraction"),
            f"{show(one['q05'], 'change')} to {show(one['q95'], 'change')}",
            *(show(one[name], "change") for name in ("most", "limit", "detectable")),
        )
    console.print(table)


def _lines(title: str, lines: Iterable[str], most: int, console: Console) -> None:
    found = list(lines)
    for line in found[:most]:
        console.print(_hanging(title, line), highlight=False)
    _more(len(found) - most, console)


def _hanging(title: str, text: str) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(width=7, no_wrap=True, style="yellow")
    table.add_column(overflow="fold")
    table.add_row(title, escape(text))
    return table


def _more(count: int, console: Console) -> None:
    if count > 0:
        console.print(Padding(f"…{and_more(count)}: --json FILE holds all", INDENT), style="dim", highlight=False)
