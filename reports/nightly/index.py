"""The index of a history: HISTORY/index.html, one line a run, newest night first. What each night said lies in HISTORY/verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from benches.row import FAILED
from kernels.writing import write_text
from reports.history.schema import SENTINEL
from reports.nightly import nights as read
from reports.nightly.model import NodeShift, Said, Verdict

FOLDER = "verdicts"
OUTCOME = {0: "fine", 1: "regressed", 3: "suspect"}  # of an exit code
OF_A_RUN = ("run_dir", "started_utc", "host", "device_name", "device_kind", "driver", "torch", "triton", "commit", "sweep")


class Shift(BaseModel):
    """A GPU's, in the night of its verdict: from what is usual for it."""

    gpu: str
    ratio: float
    series: int


class Kept(BaseModel):
    """What the index tells of a verdict; the file is named after its run. `page`: where the night's page was written."""

    model_config = ConfigDict(extra="ignore")

    run: str
    night: str
    exit_code: int
    headline: str
    page: str | None = None
    shifts: list[Shift] = []
    changes: list[tuple[str, str, str]] = []  # listed: point, direction, and the night that confirmed it


def keep(history: Path, verdict: Verdict, page: Path | None) -> None:
    """Writes what the index needs of a verdict. Raises OSError."""
    told = [one for one in verdict.shifts if one.night == verdict.night and one.moved is not None]
    shifts = [Shift(gpu=one.gpu, ratio=one.unusual, series=one.series) for one in told]
    kept = Kept(
        run=verdict.run,
        night=verdict.night,
        exit_code=verdict.exit_code,
        headline=verdict.headline,
        page=str(page.resolve()) if page else None,
        shifts=shifts,
        changes=[(change.point, change.direction, change.confirmed_night) for change in verdict.changes],
    )
    folder = history / FOLDER
    folder.mkdir(exist_ok=True)
    write_text(folder / f"{verdict.run}.json", kept.model_dump_json() + "\n")


def forget(history: Path, runs: Iterable[str]) -> None:
    """Deletes what was kept of runs that the history no longer has."""
    for run in runs:
        (history / FOLDER / f"{run}.json").unlink(missing_ok=True)


def read_kept(history: Path) -> tuple[dict[str, Kept], list[str]]:
    """By run, and a line for each file that cannot be read: such a run is listed as not judged."""
    kept, problems = {}, []
    for path in sorted((history / FOLDER).glob("*.json")):
        try:
            one = Kept.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            problems.append(f"{FOLDER}/{path.name} cannot be read ({str(error).splitlines()[0]}): delete it, or judge its run again")
            continue
        kept[one.run] = one
    return kept, problems


def last_said(history: Path, database: duckdb.DuckDBPyConnection, run: str, calendar: read.Calendar) -> Said | None:
    """What the verdicts of the nights before this run's listed, so that what a judge was killed before it could say is said tonight. None
    where there are none."""
    alike = read.alike(database, run, calendar)
    tonight = next(iter(alike.loc[alike["run"] == run, "night"]), "")
    kept, _ = read_kept(history)
    before = [kept[other] for other in alike["run"] if other in kept and kept[other].night < tonight]
    return Said(frozenset(change for one in before for change in one.changes)) if before else None


def runs(database: duckdb.DuckDBPyConnection, calendar: read.Calendar) -> pd.DataFrame:
    """A line a run, newest first: OF_A_RUN, run, night, gpu, points, timed, failed."""
    told = ", ".join(f'any_value("{name}") AS "{name}"' for name in OF_A_RUN)
    failed = ", ".join(f"'{status}'" for status in FAILED)
    found = database.execute(
        f"""
        SELECT run, {told}, any_value({read.GPU}) AS gpu, count(*) FILTER (status <> '{SENTINEL}') AS points,
               count(*) FILTER ({read.TIMED}) AS timed, count(*) FILTER (status IN ({failed})) AS failed
        FROM history GROUP BY run
        """
    ).df()
    database.register("found_runs", found)
    return database.execute(f"SELECT *, {calendar.sql} AS night FROM found_runs ORDER BY started_utc DESC, run DESC").df()


def with_verdicts(found: pd.DataFrame, kept: dict[str, Kept]) -> pd.DataFrame:
    """`runs` with `status`, `headline` and `page`; a run without a verdict is "not judged"."""
    each = [kept.get(run) for run in found["run"]]
    return found.assign(
        status=[OUTCOME.get(one.exit_code, "not judged") if one else "not judged" for one in each],
        headline=pd.Series([one.headline if one else None for one in each], found.index, dtype=object),
        page=pd.Series([one.page if one else None for one in each], found.index, dtype=object),
        night=[one.night if one else night for one, night in zip(each, found["night"], strict=True)],
    )


def shifts(kept: Iterable[Kept], tonight: Sequence[NodeShift]) -> list[NodeShift]:
    """Every GPU's shift in every night that is known: each verdict's own night, and all that tonight's has looked at."""
    told = {
        (shift.gpu, one.night): NodeShift(shift.gpu, one.night, shift.ratio, shift.series, shift.ratio)
        for one in kept
        for shift in one.shifts
    }
    told |= {(shift.gpu, shift.night): shift for shift in tonight}
    return [told[key] for key in sorted(told, key=lambda key: (key[1], key[0]))]
