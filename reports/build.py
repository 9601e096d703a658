"""From a run directory to the page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from benches.run.journal import NAME as JOURNAL
from benches.run.survey_file import is_survey
from kernels.writing import write_text
from reports.neighbours import neighbour_lines
from reports.page import page
from reports.payload import libraries, pack, payload
from reports.refusal import RunError, check_folder, writing
from reports.report import Report, load_report
from reports.sections import SECTIONS
from reports.store import write_tables

if TYPE_CHECKING:
    from reports.survey.survey_verdict import SurveyVerdict

NAME = "report.html"
TITLE = "H100 microbenchmarks"
EVERY_PAGE = 16  # GPUs of a survey up to which each has a page; the others' are a command away
SCRIPTS = ("theme", "data", "copy", "charts", "detail", "table", "main")  # in the order in which they need one another

OF_AN_H100 = ("mfu", "mfu_at_clock")  # which measured an H100's peak against a CPU; rows.parquet has them in any run


def build_report(run_dir: Path, out: Path | None = None) -> Path:
    """Writes the page (RUN_DIR/report.html unless `out` says otherwise), rows.parquet and rows.csv; returns the page's path.

    Raises RunError where there is nothing to report on, OSError where a file cannot be written.
    """
    return write_report(load_report(run_dir), out)


def write_report(report: Report, out: Path | None = None) -> Path:
    """The same for a report that is already loaded."""
    beside = out is None
    out = out or report.run_dir / NAME
    write_text(out, html(report))
    try:
        write_tables(report.frame, report.run_dir)
    except OSError as error:
        if beside:
            raise
        # The page that was asked for is written; the run directory may be read-only.
        print(f"note: {report.run_dir}: rows.parquet and rows.csv were not written ({error.strerror})", file=sys.stderr)
    return out


def html(report: Report) -> str:
    """The whole page. Nothing in it refers to anything outside it."""
    sections = [section for make in SECTIONS if (section := make(report)) is not None]
    lines = neighbour_lines(report.frame, report.environment.ceilings)
    texts = pd.Series(["; ".join(found) or None for found in lines], report.frame.index, dtype=object)
    frame = report.frame.assign(neighbours=texts)
    frame = frame.drop(columns=list(OF_AN_H100)) if report.on_cpu else frame
    data = payload(frame, [chart for section in sections for chart in section.charts])
    return page(
        TITLE,
        report.run_dir.resolve().name,
        sections,
        SCRIPTS,
        [*libraries(), ("data", pack(data))],
        instead="rows.csv in the run directory holds every point",
        source=JOURNAL,
        simulated=report.environment.kind == "simulated",
        problems=report.problems,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="the run: a folder with rows.jsonl, or a survey's with survey.json")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="where the page goes (RUN_DIR/report.html)")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """`python -m reports html RUN_DIR [-o FILE]`: prints the page's path; a survey's GPUs have pages of their own.

    Raises RunError where there is nothing to build it from.
    """
    if is_survey(given.run_dir):
        return run_survey(given)
    check_folder(given.out)
    report = load_report(given.run_dir)
    with writing(given.out or given.run_dir / NAME):
        path = write_report(report, given.out)
    for problem in report.problems:
        print(f"warning: {problem}", file=sys.stderr)
    print(path)
    return 0


def run_survey(given: argparse.Namespace) -> int:
    """Makes the survey's page, RUN/report.html unless -o names another place, after those of its GPUs: of all on a node, of more GPUs those
    that need a look. Without -o 2 where a GPU's page could not be made, after the others."""
    from reports.survey.survey_page import write_page  # which takes half a second to import
    from reports.survey.survey_verdict import judge_survey

    check_folder(given.out)
    verdict = judge_survey(given.run_dir)
    # With -o the page that was asked for is another one, and the survey's directory may be read-only.
    codes = [_gpu_page(folder, "error" if given.out is None else "note") for folder in gpus_with_pages(verdict)]
    out = given.out or given.run_dir / NAME
    with writing(out):
        write_page(verdict.run, verdict.judged, out, verdict.past)
    for problem in verdict.notes:
        print(f"warning: {problem}", file=sys.stderr)
    print(out)
    return max(codes, default=0) if given.out is None else 0


def gpus_with_pages(verdict: SurveyVerdict) -> list[Path]:
    """Returns the directories of those GPUs of a survey that get a page of their own: of all on a node, of more those that need a look, as
    far as they have rows."""
    from reports.survey.survey_page import needs_a_look  # which takes half a second to import

    run, gpus = verdict.run, verdict.run.file.gpus
    looked_at = {gpu.uuid for gpu in gpus} if len(gpus) <= EVERY_PAGE else needs_a_look(verdict.judged)
    folders = [run.run_dir / gpu.directory for gpu in gpus if gpu.uuid in looked_at]
    return [folder for folder in folders if (folder / JOURNAL).is_file() and (folder / JOURNAL).stat().st_size]


def _gpu_page(folder: Path, failing: str) -> int:
    """Makes the page of a GPU of a survey. failing: begins the line that says why it cannot be made."""
    try:
        return run(argparse.Namespace(run_dir=folder, out=None))
    except RunError as error:
        print(f"{failing}: {error}", file=sys.stderr)
        return 2
