"""Views and copies: strides, offsets, and copies beside copy bandwidth."""

from __future__ import annotations

import pandas as pd

from kernels.layout.spec import sizes
from kernels.layout.strided import FUNCTIONS, refused, result, shares_storage
from kernels.registry import point_of
from reports.page import render
from reports.report import Report
from reports.section import Section

TITLE = "Views and copies"
LEAD = (
    "Element (r, c) of a tensor lies at offset + r·stride(0) + c·stride(1) in its memory. A view has other strides over it: no "
    "bytes move, whatever its size, and its time is the host's. Otherwise the elements are copied, and 2 × bytes are moved."
)
MAX_ROWS = 300


def layout(report: Report) -> Section | None:
    """None where the run has no layout points."""
    frame = report.frame[report.frame["op"] == "layout"]
    if frame.empty:
        return None
    place = frame["function"].map({name: i for i, name in enumerate(FUNCTIONS)})
    ordered = frame.assign(place=place).sort_values(["place", "impl", "precision"], kind="stable")
    lines = [line for _, row in ordered.head(MAX_ROWS).iterrows() if (line := _line(row, frame))]
    body = render("layout.html.j2", lines=lines, more=max(0, len(ordered) - MAX_ROWS))
    return Section("layout", TITLE, LEAD, body)


def _line(row: pd.Series, frame: pd.DataFrame) -> dict[str, object] | None:
    """What the function is, where its result lies, and a copy's speed over clone's; None where another version made the row."""
    point = point_of(row)
    if point is None:
        return None
    name, m, n = sizes(point)
    told: dict[str, object] = {"row": row, "code": FUNCTIONS[name].code, "over_clone": _over_clone(row, frame)}
    if refused(name, m, n):
        return told | {"shape": None, "strides": None, "offset": None, "storage": "RuntimeError"}
    found = result(name, m, n)
    storage = "shared" if shares_storage(name, m, n) else "own"
    return told | {"shape": found.shape, "strides": found.strides, "offset": found.offset, "storage": storage}


def _over_clone(row: pd.Series, frame: pd.DataFrame) -> float | None:
    """Bandwidth over that of `clone` of the same implementation, precision and dims; None without one or for a view."""
    same = frame[["impl", "precision", "dims"]].eq(row[["impl", "precision", "dims"]]).all(axis=1)
    clone = frame[same & (frame["function"] == "clone")]["bytes_per_s"].dropna()
    return None if clone.empty or not row["bytes_read"] else row["bytes_per_s"] / clone.iloc[0]
