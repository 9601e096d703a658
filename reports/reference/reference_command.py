"""The subcommand: writes the reference pages. 2 where they cannot be written, one line."""

from __future__ import annotations

import argparse
from pathlib import Path

from kernels.guard import ROOT
from kernels.writing import write_text
from reports.reference.pages import pages
from reports.refusal import writing

FOLDER = ROOT / "docs" / "reference"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", type=Path, default=FOLDER, metavar="DIR", help="where the pages go (default: docs/reference)")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    made = pages()
    with writing(given.out):
        given.out.mkdir(parents=True, exist_ok=True)
        for name, text in made.items():
            write_text(given.out / name, text)
    print(f"{len(made)} pages in {given.out}")
    return 0
