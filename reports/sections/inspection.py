"""What `python -m kernels inspect --json` found in the machine code of the Triton kernels, where the run directory holds it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from benches.run.json_file import read_json
from reports.page import render
from reports.report import Report
from reports.section import Section
from reports.units import MISSING

NAME = "inspect.json"
TITLE = "Machine code of the Triton kernels"
ORDER = {"fail": 0, "unsupported": 1, "pass": 2}
TONES = {"fail": "bad", "unsupported": "neutral", "pass": "good"}
UNSHOWN = ("id", "seconds", "status")  # the id says what op, precision, variant and config say; the status has its own column
LEAD = "Each kernel was compiled for the GPU without one and its machine code read; a check that failed comes first."


def inspection(report: Report) -> Section | None:
    """None where the run directory has no inspect.json."""
    path = report.run_dir / NAME
    if not path.is_file():
        return None
    try:
        found = read_json(path)
    except (OSError, ValueError) as error:
        return Section("inspection", TITLE, LEAD, empty=f"{NAME} cannot be read: {error}")
    records = sorted(_records(found), key=lambda record: ORDER.get(str(record.get("status")), -1))
    if not records:
        return Section("inspection", TITLE, LEAD, empty=f"{NAME} lists no kernels.")
    names = [name for name in dict.fromkeys(name for record in records for name in record) if name not in UNSHOWN]
    lines = [(str(record.get("status")), [_text(record.get(name)) for name in names]) for record in records]
    counts = Counter(status for status, _ in lines)
    body = render("inspection.html.j2", names=names, lines=lines, counts=counts, tones=TONES, gpu=_text(found.get("gpu")))
    return Section("inspection", TITLE, LEAD, body)


def _records(found: Any) -> list[dict[str, Any]]:
    records = found.get("kernels") if isinstance(found, dict) else None
    return [record for record in records if isinstance(record, dict)] if isinstance(records, list) else []


def _text(value: object) -> str:
    """Counts by name as words: HGMMA 64 UTMALDG 4."""
    if isinstance(value, dict):
        return " ".join(f"{name} {count}" for name, count in value.items()) or MISSING
    return MISSING if value is None or value == "" else str(value)
