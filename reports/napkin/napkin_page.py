"""The napkin's page: a section for each question."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kernels.writing import write_text
from reports.napkin.napkin_charts import plots
from reports.napkin.steps import Answer
from reports.page import page, render
from reports.payload import libraries, pack
from reports.section import Section

TITLE = "Napkin math of training"
SCRIPTS = ("theme", "data", "charts", "napkin")


def write_page(answers: Sequence[Answer], out: Path) -> None:
    """One HTML file that loads nothing. Raises OSError where it cannot be written."""
    text = html(answers)
    write_text(out, text)


def html(answers: Sequence[Answer]) -> str:
    sections = [_section(answer, f"q{i}") for i, answer in enumerate(answers)]
    charts = ",".join(chart.to_json() for section in sections for chart in section.charts)
    plotly = [bundle for bundle in libraries() if bundle[0] == "plotly"]
    return page(
        TITLE,
        "Predicted cost, step by step",
        sections,
        SCRIPTS,
        [*plotly, ("data", pack(f'{{"charts":{{{charts}}}}}'))],
        instead="the steps need none",
        source=", ".join(answer.question.file for answer in answers),
    )


def _section(answer: Answer, name: str) -> Section:
    titled = plots(answer, name)
    body = render("napkin.html.j2", answer=answer, charts=titled)
    return Section(name, answer.question.name, answer.asked, body, [one.chart for one in titled])
