"""A comparison for machines and for a pull request: JSON, CSV, Markdown."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import pandas as pd

from kernels.escaping import code, markdown
from kernels.listed import and_more
from reports.compare.comparison import CHANGED, Comparison
from reports.compare.comparison_page import shown
from reports.compare.words import count_line, one_run_line, run_line, shift_line
from reports.store import spreadsheet
from reports.tables import records
from reports.units import MISSING, show, significant

JSON_VERSION = 1  # grows where a field changes its meaning or goes; new fields may come
LISTED = 20  # rows of each table in the Markdown: a comment holds 65,536 characters


def to_json(found: Comparison) -> str:
    """Counts, families and every point, with the columns of the page's table; null for what is not known."""
    fields = {
        "version": JSON_VERSION,
        "a": [str(report.run_dir) for report in found.a.reports],
        "b": [str(report.run_dir) for report in found.b.reports],
        "threshold": found.assumed.threshold,
        "counts": found.counts(),
        "differs": list(found.differs),
        "worse": found.worse,
        "shift": found.shift.median if found.shift else None,
        "families": [{name: _finite(value) for name, value in asdict(family).items()} for family in found.families],
        "points": [{name: _finite(value) for name, value in row.items()} for row in records(shown(found.table))],
    }
    return json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_csv(found: Comparison) -> str:
    """The page's table: a row a point, numbers as ratios and SI units."""
    return spreadsheet(shown(found.table)).to_csv(index=False, lineterminator="\n")


def to_markdown(found: Comparison) -> str:
    """What a reviewer reads: what was compared, in what it differs, what changed, and the means."""
    sign = "❌" if found.worse else "✅"
    parts = ["> **SIMULATED**: these times come from a model of a GPU.\n"] if found.a.environment.kind == "simulated" else []
    parts += [
        f"## {sign} {markdown(count_line(found))}\n",
        f"- **A** {markdown(run_line(found.a))}",
        f"- **B** {markdown(run_line(found.b))}",
    ]
    differs = " · ".join(found.differs) or "no recorded setting, only the time"
    lines = [f"Differs: {differs}", shift_line(found), one_run_line(found)]
    parts += [f"- {markdown(line)}" for line in lines if line]
    for verdict in ("slower", "faster"):
        parts += _pairs(verdict, found.of(verdict))
    parts += _changes(found.of(*CHANGED))
    parts += _families(found)
    return "\n".join(parts).rstrip() + "\n"


def _pairs(verdict: str, rows: pd.DataFrame) -> list[str]:
    if rows.empty:
        return []
    lines = [
        f"| {code(row['point'], in_table=True)} | {show(row['ratio'], 'ratio')} | {_interval(row['low'], row['high'])} "
        f"| {show(row['median_s_a'], 's')} | {show(row['median_s_b'], 's')} |"
        for row in rows.head(LISTED).to_dict("records")
    ]
    return [
        "",
        f"### {verdict.capitalize()}: {len(rows):,}",
        "",
        "| point | B/A | 95% | A | B |",
        "|---|---:|---:|---:|---:|",
        *lines,
        *_rest(len(rows)),
    ]


def _changes(rows: pd.DataFrame) -> list[str]:
    if rows.empty:
        return []
    lines = [f"- {row['verdict']}: {code(row['point'])} {markdown(row['why'])}".rstrip() for row in rows.head(LISTED).to_dict("records")]
    return ["", f"### Changed status: {len(rows):,}", "", *lines, *_rest(len(rows))]


def _families(found: Comparison) -> list[str]:
    if not found.families:
        return []
    kept = [*found.families[:-1][:LISTED], found.families[-1]]
    lines = [
        f"| {markdown(f.op)} | {markdown(f.impl)} | {markdown(f.precision)} | {f.pairs:,} | {show(f.ratio, 'ratio')} "
        f"| {_interval(f.low, f.high)} | {f.verdict} |"
        for f in kept
    ]
    heads = ["| op | impl | precision | pairs | B/A | 95% | its mean is |", "|---|---|---|---:|---:|---:|---|"]
    return ["", "### By family: geometric means", "", *heads, *lines, *_rest(len(found.families) - 1)]


def _interval(low: float, high: float) -> str:
    return MISSING if math.isnan(low) else f"{significant(low, 3)}…{show(high, 'ratio')}"


def _rest(count: int) -> list[str]:
    return ["", f"…{and_more(count - LISTED)}"] if count > LISTED else []
