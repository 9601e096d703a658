"""HISTORY/index.html, written anew at each night: links to every run's page and every night's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pandas as pd

from kernels.writing import write_text
from reports.columns import Column
from reports.nightly import index
from reports.nightly.model import NodeShift, Verdict
from reports.nightly.night_charts import shift_chart
from reports.nightly.nights import Calendar
from reports.page import page, relative, render
from reports.palette import OUTCOMES
from reports.payload import libraries, pack, payload
from reports.section import Section

NAME = "index.html"
SCRIPTS = ("theme", "data", "charts", "detail", "table", "runs")  # in the order in which they need one another
TITLE = "Nights"
VERDICT, RUN = "What it said", "What was run"
GROUPS = (VERDICT, RUN)
COLUMNS = (
    Column("status", "Outcome", "", VERDICT, "exit code in words: 0 fine, 1 regressed, 3 suspect", True),
    Column("night", "Night", "", VERDICT, "date on which the night began", True),
    Column("nightly", "Verdict", "", VERDICT, "the night's page, where it still is", True),
    Column("report", "Run's page", "", RUN, "the run's own page, where it still is", True),
    Column("headline", "Headline", "", VERDICT, "the night in one line", True),
    Column("host", "Host", "", RUN, "where it ran", True),
    Column("gpu", "GPU", "", RUN, "the device's UUID, or the host where it has none", True),
    Column("device_name", "Device", "", RUN, "kind of the device", True),
    Column("sweep", "Sweep", "", RUN, "what was measured", True),
    Column("commit", "Commit", "", RUN, "of this repository", True),
    Column("points", "Points", "count", RUN, "rows of the run", True),
    Column("timed", "Timed", "count", RUN, "points with a time that counts", True),
    Column("failed", "Failed", "count", RUN, "points that were wrong, crashed, or ended in another error", True),
    Column("started_utc", "Started", "", RUN, "UTC", True),
    Column("driver", "Driver", "", RUN, "of the GPU"),
    Column("torch", "torch", "", RUN, "version"),
    Column("triton", "triton", "", RUN, "version"),
    Column("point", "Run", "", RUN, "the run's id: start, host and a hash", True),
)
BY_NAME = {column.name: column for column in COLUMNS}


def write_index(
    history: Path, database: duckdb.DuckDBPyConnection, calendar: Calendar, tonight: Verdict, notes: Sequence[str] = ()
) -> Path:
    """Writes the index and returns its path. calendar: as `judge` was given; notes: of opening the history. Raises OSError."""
    kept, problems = index.read_kept(history)
    found = index.with_verdicts(index.runs(database, calendar), kept)
    out = history / NAME
    text = html(found, index.shifts(kept.values(), tonight.shifts), history, list(dict.fromkeys([*problems, *notes, *tonight.notes])))
    write_text(out, text)
    return out


def html(found: pd.DataFrame, shifts: list[NodeShift], history: Path, problems: list[str]) -> str:
    """`found`: of index.with_verdicts, newest first."""
    frame = frame_of(found, history)
    sections = [_latest(frame), _runs(frame), *([_shift(shifts)] if shifts else [])]
    data = payload(frame, [chart for section in sections for chart in section.charts], BY_NAME.__getitem__, GROUPS, OUTCOMES)
    return page(
        TITLE,
        f"{len(frame):,} runs, nights from {frame['night'].min()} to {frame['night'].max()}",
        sections,
        SCRIPTS,
        [*libraries(), ("data", pack(data))],
        instead=f"{index.FOLDER}/ beside this file holds each night's verdict",
        source="the history",
        simulated=bool((found["device_kind"] == "simulated").all()),
        problems=problems,
    )


def frame_of(found: pd.DataFrame, history: Path) -> pd.DataFrame:
    """The table's columns; pages that are gone have no address."""
    reports = found["run_dir"].map(lambda folder: _address(Path(folder) / "report.html", history))
    pages = found["page"].map(lambda path: _address(Path(path), history) if isinstance(path, str) else None)
    started = found["started_utc"].dt.strftime("%Y-%m-%d %H:%M")
    named = found.assign(point=found["run"], nightly=pages, report=reports, started_utc=started)
    return named.assign(commit=found["commit"].str[:10])[[*BY_NAME]]


def _address(path: Path, history: Path) -> str | None:
    return relative(path, history) if path.is_file() else None


def _latest(frame: pd.DataFrame) -> Section:
    """The newest run of each kind of device and sweep."""
    lead = "The newest run of each kind of device and sweep."
    newest = frame.drop_duplicates(["device_name", "sweep"]).to_dict("records")
    return Section("latest", "Latest", lead, render("nightly_latest.html.j2", runs=newest, outcomes=OUTCOMES))


def _runs(frame: pd.DataFrame) -> Section:
    lead = "Every run of the history, newest first; a link where the page still is. Sort by a heading, filter by the chips and menus."
    counts = frame["status"].value_counts()
    chips = [(status, int(counts[status])) for status in OUTCOMES if status in counts]
    menus = [(name, sorted(frame[name].dropna().unique())) for name in ("host", "gpu", "device_name", "sweep")]
    body = render(
        "points.html.j2",
        **{"chips": chips, "menus": menus, "total": len(frame), "statuses": OUTCOMES, "things": "runs", "searched": "night, commit …"},
    )
    return Section("points", "Every run", lead, body)


def _shift(shifts: list[NodeShift]) -> Section:
    lead = "The common shift of all series of a GPU against its usual level: above zero is slower."
    chart = shift_chart(shifts)
    return Section("shift", "Node shift", lead, render("chart_only.html.j2", chart=chart), [chart])
