"""`python -m reports validation DIR [-o FOLDER]`: a first contact's output as a folder of docs/validation."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benches.first_contact.check import Check
from benches.run.json_file import read_json
from kernels.guard import ROOT
from kernels.writing import write_text
from reports.validation import model
from reports.validation.board_page import page, predictions
from reports.validation.contact import CHECKS as CHECK_LIST
from reports.validation.contact import Contact, ContactError, a_line_each, as_json, load_contact, medians, public, without_samples
from reports.validation.figure import measured_over_predicted
from reports.validation.proof import CHECKS, load_evidence, update

VALIDATION = ROOT / "docs" / "validation"
PROOF_TABLE = ROOT / "docs" / "evidence.md"
FITTED_LATER = "constants of the cost model"  # the check that first-contact leaves to this command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dir", type=Path, metavar="DIR", help="folder that `python -m benches first-contact --out DIR` wrote")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where the board's folder goes (docs/validation, and then docs/evidence.md follows)",
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Exit code 2 for a folder that nothing can be made from."""
    try:
        contact = load_contact(given.dir)
        if given.out is None and contact.environment.kind != "cuda":
            raise ContactError(f"{given.dir}: comes from a simulated board, which is not evidence: name another folder with -o")
        for note in contact.notes:
            print(f"warning: {note}", file=sys.stderr)
        target = folder_for(contact, given.out or VALIDATION)
        write(contact, target)
        if given.out is None:
            write_text(PROOF_TABLE, update(PROOF_TABLE.read_text(encoding="utf-8"), load_evidence(VALIDATION)))
    except (ContactError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(target)
    return 0


def folder_for(contact: Contact, folder: Path) -> Path:
    """<board>-<date>; with a number behind it where that is another contact's."""
    name = f"{contact.board}-{contact.date}"
    for number in range(1, 100):
        path = folder / (name if number == 1 else f"{contact.board}-{number}-{contact.date}")
        if not path.exists() or started(path) == contact.environment.fields["started_utc"]:
            return path
    raise ContactError(f"{folder} holds 99 contacts with {name}")


def started(path: Path) -> str | None:
    try:
        return str(read_json(path / "environment.json").get("started_utc"))
    except (OSError, ValueError):
        return None


def write(contact: Contact, target: Path) -> None:
    """Writes the folder's files. Raises OSError."""
    fitted = model.fit(contact.path)
    checks = [check for check in contact.checks if check.check != FITTED_LATER]
    checks += [Check(model.STEP, "fit", None, "", "fitted", "skipped", fitted)] if isinstance(fitted, str) else model.judge(fitted)
    ratios = predictions(contact)
    timed = [row for row in contact.rows if row.point in ratios]
    points = {row.point: (row.op, float(row.median_s or 0) / ratios[row.point], ratios[row.point]) for row in timed}
    target.mkdir(parents=True, exist_ok=True)
    write_text(target / "README.md", page(contact, checks, fitted))
    write_text(target / CHECKS, a_line_each(CHECK_LIST.dump_python(checks, mode="json")))
    write_text(target / "environment.json", as_json(public(contact.environment.fields)))
    write_text(target / "measured.json", as_json(medians(contact.measured)))
    write_text(target / "rows.jsonl", "".join(without_samples(row) + "\n" for row in contact.rows))
    write_text(target / "measured.svg", measured_over_predicted(points))
