"""What `python -m kernels inspect --json` found in the machine code of the Triton kernels, where the run directory holds it."""

from __future__ import annotations

import json
from typing import Any

from reports.page import render
from reports.report import Report
from reports.sections.base import Section

NAME = "inspect.json"
TITLE = "Machine code of the Triton kernels"
LEAD = "Each kernel was compiled for the GPU without one and its machine code read; a check that failed comes first."


def inspection(report: Report) -> Section | None:
    """None where the run directory has no inspect.json."""
    path = report.run_dir / NAME
    if not path.is_file():
        return None
    try:
        records = _records(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        return Section("inspection", TITLE, LEAD, empty=f"{NAME} cannot be read: {error}")
    if not records:
        return Section("inspection", TITLE, LEAD, empty=f"{NAME} lists no kernels.")
    names = list(dict.fromkeys(name for record in records for name in record))
    return Section("inspection", TITLE, LEAD, render("inspection.html.j2", names=names, records=records))


def _records(found: Any) -> list[dict[str, Any]]:
    """The first list of objects: the file itself, or one of its fields."""
    lists = [found] if isinstance(found, list) else list(found.values()) if isinstance(found, dict) else []
    return next((v for v in lists if isinstance(v, list) and v and all(isinstance(r, dict) for r in v)), [])
