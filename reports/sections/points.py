"""The table of every point. Its rows are drawn by the page's script from the embedded data."""

from __future__ import annotations

import shlex

from reports.page import render
from reports.palette import STATUSES, UNKNOWN_STATUS
from reports.report import Report
from reports.section import Section

LEAD = (
    "Every point of the run with its status and reason, those that need attention first; sort by a heading, filter by the chips "
    "and menus, open a point by its name. The address keeps the filters; / goes to the search, and in a point ← and → to its neighbours."
)


def points(report: Report) -> Section:
    """Chips with the number of points of each status, and a menu for each thing to filter by."""
    counts = report.frame["status"].value_counts()
    statuses = STATUSES | dict.fromkeys(sorted(set(counts.index) - set(STATUSES)), UNKNOWN_STATUS)
    chips = [(status, int(counts[status])) for status in statuses if status in counts]
    menus = [(name, sorted(report.frame[name].unique())) for name in ("op", "impl", "precision")]
    body = render("points.html.j2", chips=chips, menus=menus, total=len(report.frame), statuses=statuses, command=_command(report))
    return Section("points", "Every point", LEAD, body)


def _command(report: Report) -> str:
    """pytest's options that measure a point of this run again, on the same kind of device."""
    device = [] if report.environment.kind == "unknown" else ["--device", report.environment.kind]
    return shlex.join(["--benchmark-only", "--sweep", str(report.run_dir / "sweep.yaml"), *device])
