"""`python -m reports table RUN`: chosen columns of a run's rows as Markdown, CSV, LaTeX or JSON."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from kernels.escaping import markdown, one_line
from kernels.writing import write_text
from reports.columns import column
from reports.refusal import RunError, writing
from reports.report import load_report
from reports.store import spreadsheet
from reports.units import show

FORMATS = ("md", "csv", "latex", "json")
DEFAULT = ("point", "status", "median_s", "ci_half_width", "flops_per_s", "peak_fraction", "bytes_per_s", "bandwidth_fraction")
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {c: f"\\{c}" for c in "&%$#_{}"}
LATEX_SYMBOLS = {"\u00a0": "~", "µ": r"$\mu$", "×": r"$\times$", "—": "---", "°": r"$^\circ$", "σ": r"$\sigma$"}


def table_text(frame: pd.DataFrame, form: str) -> str:
    """The frame in one of FORMATS. Markdown and LaTeX are for people, with units; CSV and JSON have the numbers in SI units."""
    if form == "csv":
        return spreadsheet(frame).to_csv(index=False, lineterminator="\n")
    if form == "json":
        return json.dumps(records(frame), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    cells = [[_shown(frame[name].iloc[place], str(name)) for name in frame] for place in range(len(frame))]
    labels = [column(str(name)).label for name in frame]
    right = [column(str(name)).numeric for name in frame]
    return _latex(labels, cells, right) if form == "latex" else markdown_table(labels, cells, right)


def records(frame: pd.DataFrame) -> list[dict[str, object]]:
    """One object a row; what is missing is None."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")  # type: ignore[return-value]


def _shown(value: object, name: str) -> str:
    return show(None if value is None or value is pd.NA else value, column(name).unit)


def markdown_table(labels: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """GitHub's Markdown; numbers stand at the right, and nothing in a cell is markup."""
    lines = [" | ".join(map(markdown, labels)), "|".join("---:" if last else "---" for last in right)]
    lines += [" | ".join(markdown(text) for text in row) for row in cells]
    return "".join(f"| {line} |\n" if i != 1 else f"|{line}|\n" for i, line in enumerate(lines))


def _latex(labels: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """A tabular with booktabs' rules."""
    rows = [" & ".join(map(latex, row)) + r" \\" for row in (labels, *cells)]
    form = "".join("r" if last else "l" for last in right)
    return "\n".join([f"\\begin{{tabular}}{{{form}}}", r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule", r"\end{tabular}", ""])


def latex(text: str) -> str:
    """Text that LaTeX shows as it is."""
    return "".join(LATEX.get(c) or LATEX_SYMBOLS.get(c) or c for c in one_line(text))


def chosen(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """These columns. Raises RunError, which names what is meant, for one that the run does not have."""
    for name in names:
        if name not in frame:
            near = get_close_matches(name, map(str, frame), 3, 0.4)
            raise RunError(
                f"--columns: {name!r} is not a column"
                + (f"; did you mean {', '.join(near)}?" if near else f"; choose {', '.join(map(str, frame))}")
            )
    return frame[list(names)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument(
        "--columns",
        type=lambda text: re.split(r"[,\s]+", text.strip(", ")),
        default=list(DEFAULT),
        metavar="A,B,…",
        help="names as in rows.parquet; the page's glossary has them all",
    )
    parser.add_argument("--format", choices=FORMATS, default="md", help="md and latex with units, csv and json in SI units (md)")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="where the table goes (standard output)")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Raises RunError where there is no run, no such column, or the file cannot be written."""
    text = table_text(chosen(load_report(given.run_dir).frame, given.columns), given.format)
    if given.out is None:
        print(text, end="")
        return 0
    with writing(given.out):
        write_text(given.out, text)
    print(os.fspath(given.out))
    return 0
