"""The page of a night: what changed, worst first, every series a click away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benches.run.journal import NAME as JOURNAL
from kernels.writing import write_text
from reports.nightly.fleet import GpuTonight
from reports.nightly.night_verdict import Judged
from reports.nightly.sections import about, changes, earlier, node, statuses, summary, unusual
from reports.nightly.series import COLUMNS, GROUPS, column, series_frame
from reports.nightly.trends import bundles
from reports.page import page, relative, render
from reports.palette import NIGHTLY
from reports.payload import libraries, pack, payload
from reports.section import Section

NAME = "nightly.html"  # in the run directory
SCRIPTS = ("theme", "data", "charts", "trend", "copy", "detail", "table", "nightly")  # in the order in which they need one another
TONES = {0: "good", 1: "bad", 3: "caution"}  # of an exit code


@dataclass(frozen=True)
class Around:
    """Pages beside this one, if they exist: the run's own, and the history's index."""

    run: Path | None = None
    index: Path | None = None


def write_page(judged: Judged, gpus: Sequence[GpuTonight], out: Path, around: Around) -> None:
    """One HTML file that loads nothing. Raises OSError where it cannot be written."""
    links = [(words, relative(path, out.parent)) for words, path in (("the run", around.run), ("all nights", around.index)) if path]
    text = html(judged, gpus, links)
    write_text(out, text)


def html(judged: Judged, gpus: Sequence[GpuTonight] = (), links: Sequence[tuple[str, str]] = ()) -> str:
    """The whole page. `links`: words and address of pages beside it."""
    verdict, frame = judged.verdict, series_frame(judged)
    made = [
        summary(verdict, links),
        changes(verdict),
        statuses(verdict, set(frame["point"])),
        unusual(verdict),
        earlier(verdict),
        node(verdict, gpus),
        _series(frame),
        about(verdict),
        _glossary(),
    ]
    sections = [section for section in made if section is not None]
    data = payload(frame, [chart for section in sections for chart in section.charts], column, GROUPS, NIGHTLY)
    return page(
        verdict.headline,
        f"{verdict.device_name} · run {verdict.run}",
        sections,
        SCRIPTS,
        [*libraries(), ("data", pack(data)), *bundles(judged)],
        instead="`python -m reports nightly … --json FILE` writes the verdict as data",
        source=f"the history and the run's {JOURNAL}",
        tone=TONES[verdict.exit_code],
        simulated=verdict.simulated,
        problems=verdict.suspect,
    )


def _series(frame: pd.DataFrame) -> Section:
    lead = (
        "Every series of tonight, most urgent first; sort by a heading, filter by the chips and menus, open a series with its "
        "chart by its name. A series is a point on this kind of GPU with these versions."
    )
    if frame.empty:
        return Section("points", "Every series", lead, empty="No point was timed tonight.")
    counts = frame["status"].value_counts()
    chips = [(status, int(counts[status])) for status in NIGHTLY if status in counts]
    menus = [(name, sorted(frame[name].dropna().unique())) for name in ("op", "impl", "precision", "cache")]
    body = render(
        "points.html.j2",
        **{"chips": chips, "menus": menus, "total": len(frame), "statuses": NIGHTLY, "ordered": True},
        **{"things": "series", "searched": "point, cause, night …"},
    )
    return Section("points", "Every series", lead, body)


def _glossary() -> Section:
    groups = [(group, [c for c in COLUMNS if c.group == group]) for group in GROUPS]
    lead = "Each column of the table, its unit in the CSV, and its meaning."
    return Section("glossary", "Glossary", lead, render("glossary.html.j2", groups=groups))
