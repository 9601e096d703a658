"""A first contact's folder as values: checks, environment, rows, raw measurements."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from benches.first_contact.check import Check, Verdict
from benches.first_contact.output import SUMMARY, read_measured
from benches.row import WORD, Row
from benches.run.journal import NAME as JOURNAL
from benches.run.journal import NEWER, Contents, read_journal
from benches.run.json_file import read_json
from reports.environment import Environment, load_environment

CHECKS = TypeAdapter(list[Check])
FIELDS = tuple(field.name for field in fields(Check))
VERDICTS = get_args(Verdict)
PRIVATE = ("host", "device_uuid", "variables", "load_1m", "board")  # of environment.json: whose machine it was, serial numbers, and paths


class ContactError(Exception):
    """The folder is not a first contact's; the message is one line."""


@dataclass(frozen=True)
class Contact:
    """What a first contact found."""

    path: Path
    checks: Sequence[Check]
    environment: Environment
    rows: Sequence[Row]
    measured: dict[str, Any]
    notes: Sequence[str] = ()  # on damage, and on what a newer version wrote

    @property
    def board(self) -> str:
        """The GPU's name in configs/gpus, or the board's own, as a file name takes it; `simulated-` before a simulated one's."""
        text = self.environment.text("gpu") if self.environment.fields.get("gpu") else self.environment.text("device_name")
        name = "".join(c if c.isalnum() or c in "_-" else "_" for c in text.lower())[:60]
        return name if self.environment.kind == "cuda" else f"simulated-{name}"

    @property
    def date(self) -> str:
        """ISO 8601, of its start."""
        return self.environment.text("started_utc")[:10]


def load_contact(path: Path) -> Contact:
    """Raises ContactError."""
    checks, notes = load_checks(path / SUMMARY)
    environment = load_environment(path)
    if not environment.fields.get("started_utc"):
        raise ContactError(f"{path}: {'; '.join(environment.problems) or 'environment.json has no started_utc'}")
    contents = read_journal(path) if (path / JOURNAL).is_file() else Contents([], [])
    return Contact(path, checks, environment, contents.rows, read_measured(path), [*notes, *contents.notes()])


def load_checks(path: Path) -> tuple[list[Check], list[str]]:
    """The checks, and a note where a newer version wrote them: its verdicts are kept as they are, and fields that this version does
    not know are added to the check's note. Raises ContactError."""
    try:
        written = read_json(path)
        unknown = sorted({word for one in written for word in _unknown(one)}) if isinstance(written, list) else []
        checks = CHECKS.validate_python([_known(one) for one in written] if unknown else written)
        verdicts = [one["verdict"] for one in written] if unknown else [check.verdict for check in checks]
        note = [f"{path.name} was {NEWER} ({', '.join(unknown)}): shown as written"] if unknown else []
        return [replace(check, verdict=verdict) for check, verdict in zip(checks, verdicts, strict=True)], note
    except FileNotFoundError as error:
        raise ContactError(f"{path.parent}: no {path.name}: not the output of `python -m benches first-contact`") from error
    except (OSError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise ContactError(f"{path}: cannot be read: {reason}") from error


def _unknown(check: Any) -> Iterator[str]:
    """Returns what this version does not know of a check: `verdict flaky`, `field gpu`."""
    if not isinstance(check, dict):
        return
    verdict = check.get("verdict")
    if isinstance(verdict, str) and WORD.fullmatch(verdict) and verdict not in VERDICTS:
        yield f"verdict {verdict}"
    yield from (f"field {name}" for name in check if name not in FIELDS and WORD.fullmatch(name))


def _known(check: Any) -> Any:
    """A newer version's check as this version validates it; `load_checks` puts its verdict back afterwards."""
    if not isinstance(check, dict):
        return check
    more = [f"{name}: {value}" for name, value in check.items() if name not in FIELDS]
    known = {name: value for name, value in check.items() if name in FIELDS}
    stand_in = {"verdict": "skipped"} if any(word.startswith("verdict ") for word in _unknown(check)) else {}
    return known | stand_in | {"note": "; ".join(filter(None, [check.get("note", ""), *more]))}


def public(environment: dict[str, Any]) -> dict[str, Any]:
    """environment.json without what names a machine."""
    return {name: value for name, value in environment.items() if name not in PRIVATE}


def without_samples(row: Row) -> str:
    """A line of rows.jsonl; what a row does not have is left out."""
    return row.model_copy(update={"samples_s": []}).model_dump_json(exclude_defaults=True)


def medians(measured: Any) -> Any:
    """Raw measurements with each list of many samples replaced by its median, count and range."""
    if isinstance(measured, dict):
        return {name: medians(value) for name, value in measured.items()}
    if isinstance(measured, list) and len(measured) > 3 and all(isinstance(value, int | float) for value in measured):
        ordered = sorted(measured)
        return {"median": ordered[len(ordered) // 2], "count": len(ordered), "least": ordered[0], "most": ordered[-1]}
    return [medians(value) for value in measured] if isinstance(measured, list) else measured


def as_json(value: Any) -> str:
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def a_line_each(values: Sequence[Any]) -> str:
    """A JSON list with a line for each value, so that a change is a line of a diff."""
    return "[\n" + ",\n".join(json.dumps(value, allow_nan=False) for value in values) + "\n]\n"
