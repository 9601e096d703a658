"""Environment and glossary."""

from __future__ import annotations

from reports.columns import COLUMNS, GROUPS, Column, column
from reports.environment import EXPECTED, UNKNOWN, flat
from reports.page import render
from reports.report import Report
from reports.section import Section

BOARDS = "boards"  # forty lines a GPU of a run that several GPUs share: they stay in environment.json


def environment(report: Report) -> Section:
    """Every field; one that the run did not record is "not known"."""
    env = report.environment
    names = [*EXPECTED, *(name for name in env.fields if name not in (*EXPECTED, BOARDS))]
    fields = [(name, flat(env.fields[name]) if isinstance(env.fields.get(name), dict) else env.text(name)) for name in names]
    lead = "The hardware and software of this run; runs are comparable only if these agree."
    body = render("environment.html.j2", fields=fields, unknown=UNKNOWN, peaks_from=env.ceilings_from)
    return Section("environment", "Environment", lead, body)


def glossary(report: Report) -> Section:
    """Every column of rows.parquet, from the list that also makes the frame and the table."""
    frame = set(report.frame.columns)
    described = [c for c in COLUMNS if c.name in frame]
    others: list[Column] = [column(str(name)) for name in report.frame if name not in {c.name for c in described}]
    groups = [(group, [c for c in described + others if c.group == group]) for group in GROUPS]
    lead = "Each column of the table and of rows.parquet, its unit in the files, and the formula of derived values."
    return Section("glossary", "Glossary", lead, render("glossary.html.j2", groups=[g for g in groups if g[1]]))
