"""One night from run directory to pages: add the run to its history, judge it, write. What the command does, as functions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import duckdb

from reports.environment import load_environment
from reports.history.record import UnusableRun, read_run
from reports.history.store import Opened, add_table, first_of_nights, open_history, prune, set_unreadable_aside
from reports.nightly import index, index_page, night_page
from reports.nightly.fleet import GpuTonight, fleet
from reports.nightly.night_verdict import Judged, judge
from reports.nightly.nights import Calendar, comparable_nights, night_from
from reports.nightly.rerun import measure_again, with_rerun
from reports.verdict.accepted import Accepted
from reports.verdict.rule import DEFAULT
from reports.verdict.thresholds import Thresholds, load_thresholds

T = TypeVar("T")


@dataclass(frozen=True)
class Night:
    """A judged run and where it came from."""

    judged: Judged
    run_dir: Path
    history: Path
    calendar: Calendar


def judge_run(
    run_dir: Path,
    history: Path,
    thresholds: Thresholds | None = None,
    accepted: Sequence[Accepted] = (),
    calendar: Calendar | None = None,
    prune_days: float | None = None,
    rerun: bool = False,
) -> Night:
    """Adds the run, prunes, judges, and with `rerun` measures again. thresholds: None for the default ones. calendar: which night a run is
    of; None for a night a day. Raises UnusableRun, OSError."""
    thresholds = thresholds or load_thresholds()
    calendar = calendar or night_from(thresholds.night_starts_utc)
    table, of_journal = read_run(run_dir)
    run_id = add_table(history, table)
    pruned = prune(history, prune_days) if prune_days is not None else []
    index.forget(history, pruned)
    if run_id in pruned:
        raise UnusableRun(f"{run_dir}: began more than {prune_days:g} days ago, so --prune deleted it")
    environment = load_environment(run_dir).fields
    cut = environment.get("interrupted") is True or not environment.get("finished_utc")
    notes = [*of_journal, *([f"{len(pruned)} runs older than {prune_days:g} days were deleted"] if pruned else [])]

    def open_and_judge() -> Judged:
        opened = enough_nights(history, run_id, calendar)
        notes.extend(opened.notes)  # also of a first try
        said = index.last_said(history, opened.database, run_id, calendar)
        return judge(opened.database, run_id, thresholds, accepted, calendar, notes=notes, interrupted=cut, said=said)

    judged, damaged = mended(history, open_and_judge)
    judged = replace(judged, verdict=replace(judged.verdict, notes=(*damaged, *judged.verdict.notes)))
    if rerun and judged.verdict.warnings:
        points = [warned.point for warned in judged.verdict.warnings]
        judged = replace(judged, verdict=with_rerun(judged.verdict, *measure_again(run_dir, environment, points)))
    return Night(judged, run_dir, history, calendar)


def mended(history: Path, work: Callable[[], T]) -> tuple[T, list[str]]:
    """What `work` gives, which opens the history itself, and a note for each file that had to be set aside for it: a query may meet a
    damaged page behind a good footer. Then it is called again. Raises duckdb.Error where no file is to blame."""
    try:
        return work(), []
    except duckdb.Error:
        notes = set_unreadable_aside(history)
        if not notes:
            raise
        return work(), notes


def enough_nights(history: Path, run_id: str, calendar: Calendar) -> Opened:
    """The history as far back as `lookback` nights of this run's sweep and kind of device reach: others may lie between them."""
    reach, notes = DEFAULT.lookback, list[str]()
    while True:
        first = first_of_nights(history, run_id, reach)
        opened = open_history(history, first)
        notes += opened.notes
        if not first or comparable_nights(opened.database, run_id, calendar) >= DEFAULT.lookback:
            return replace(opened, notes=tuple(notes))
        reach *= 2


def write_pages(night: Night, out: Path | None = None) -> Path:
    """The night's page (RUN_DIR/nightly.html) and the history's index; the first one's path. Raises OSError, duckdb.Error."""
    out, verdict = out or night.run_dir / night_page.NAME, night.judged.verdict
    report = night.run_dir / "report.html"
    around = night_page.Around(report if report.is_file() else None, night.history / index_page.NAME)

    def gpus() -> list[GpuTonight]:
        return fleet(enough_nights(night.history, verdict.run, night.calendar).database, night.judged, night.calendar)

    def whole_index() -> None:
        every_run = open_history(night.history)
        index_page.write_index(night.history, every_run.database, night.calendar, verdict, [*damaged, *every_run.notes])

    told, damaged = mended(night.history, gpus)
    night_page.write_page(night.judged, told, out, around)
    index.keep(night.history, verdict, out)
    _, more = mended(night.history, whole_index)
    for note in (*damaged, *more):
        print(f"warning: {note}", file=sys.stderr)
    return out
