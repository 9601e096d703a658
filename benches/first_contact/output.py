"""The files of a first contact, flat in one folder, each complete after every step:

summary.txt, summary.json    what was checked (`check`)             rows.jsonl        one row a point, as in a run directory
environment.json             as in a run directory                   doctor.json       as `doctor --json` writes it
clockwork.jsonl              what was measured, unjudged             worker.log        what the worker processes printed
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benches.first_contact.check import Check, summary
from benches.run.journal import SYNC
from kernels.writing import write_text

SUMMARY_TEXT, SUMMARY, DOCTOR, CLOCKWORK, LOG = "summary.txt", "summary.json", "doctor.json", "clockwork.jsonl", "worker.log"


def write_summary(folder: Path, checks: Sequence[Check], title: str) -> str:
    """Writes both summaries atomically; the text. Raises OSError."""
    text = summary(checks, title)
    write_text(folder / SUMMARY, json.dumps([asdict(check) for check in checks], indent=1, allow_nan=False) + "\n")
    write_text(folder / SUMMARY_TEXT, text)
    return text


def append(folder: Path, name: str, measured: Any) -> None:
    """Adds a line {"name", "measured"} to clockwork.jsonl and brings it to the disk."""
    with (folder / CLOCKWORK).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"name": name, "measured": measured}) + "\n")
        file.flush()
        SYNC(file.fileno())


def read_measured(folder: Path) -> dict[str, Any]:
    """What clockwork.jsonl holds so far, by name; a line that a kill cut short, or of another form, is left out."""
    path = folder / CLOCKWORK
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
            found[str(entry["name"])] = entry["measured"]
        except (ValueError, TypeError, KeyError):
            continue
    return found


def used_already(folder: Path) -> str | None:
    """The name of a file of an earlier first contact that lies in the folder, or None."""
    return next((name for name in (SUMMARY, SUMMARY_TEXT, CLOCKWORK, "rows.jsonl") if os.path.lexists(folder / name)), None)
