"""The page of a survey: which GPU is slow first, then where it is, how all spread, and every GPU."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benches.run.journal import NAME as JOURNAL
from kernels.writing import write_text
from reports.page import page
from reports.palette import SURVEYED
from reports.payload import libraries, pack, payload
from reports.survey.fleet_history import NO_HISTORY, FleetHistory
from reports.survey.judge import FINE, Judged
from reports.survey.shown import GROUPS, PAGE, Shown, column, shown
from reports.survey.survey_run import SurveyRun
from reports.survey.survey_sections import accused, glossary, layout, page_of, past_surveys, spread_of_gpus, summary, table
from reports.survey.words import headline

SCRIPTS = ("theme", "data", "copy", "charts", "detail", "table", "survey")  # in the order in which they need one another
TONES = {0: "good", 1: "bad", 3: "caution"}  # of an exit code


def write_page(run: SurveyRun, judged: Judged, out: Path, past: FleetHistory = NO_HISTORY) -> None:
    """One HTML file that loads nothing. past: the surveys of a history up to this one. Raises OSError where it cannot be written."""
    write_text(out, html(shown(run, judged), out.parent, past))


def needs_a_look(judged: Judged) -> set[str]:
    """The GPUs, by UUID, that are not fine, or fail points that most others time."""
    gpus = judged.gpus
    return set(gpus.loc[(gpus["state"] != FINE) | (gpus["failed"] > 0), "gpu"])


def html(shown: Shown, folder: Path, past: FleetHistory = NO_HISTORY) -> str:
    """The whole page. folder: where it will lie, for links to the GPUs' pages."""
    made = [
        summary(shown),
        accused(shown, folder),
        layout(shown),
        spread_of_gpus(shown),
        past_surveys(shown, past),
        table(shown),
        glossary(shown),
    ]
    sections = [section for section in made if section is not None]
    pages = [page_of(shown, row, folder) for row in range(len(shown.gpus))]
    frame = shown.gpus.drop(columns="group").assign(**{PAGE: pd.Series(pages, shown.gpus.index, dtype=object)})
    data = payload(frame, [chart for section in sections for chart in section.charts], column, GROUPS, SURVEYED)
    return page(
        headline(shown.run, shown.judged),
        f"survey {shown.run.run_dir.resolve().name}",
        sections,
        SCRIPTS,
        [*libraries(), ("data", pack(data))],
        instead="`python -m reports survey RUN --json FILE` writes the same as data",
        source=f"survey.json and the {JOURNAL} of each GPU",
        tone=TONES[shown.judged.exit_code],
        simulated=shown.run.simulated,
        problems=shown.run.problems,
    )
