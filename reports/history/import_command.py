"""`python -m reports import FILE… --history DIR`: runs of other suites, as pytest-benchmark wrote them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from reports.history.foreign import benchmark_table
from reports.history.record import UnusableRun
from reports.history.store import add_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="of --benchmark-json or --benchmark-autosave")
    parser.add_argument("--history", type=Path, required=True, metavar="DIR", help="directory of the history; created if it does not exist")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """A line a file; exit code 2 if any could not be taken, the others are in nevertheless."""
    code = 0
    for path in given.files:
        try:
            print(f"{path}: added as {add_table(given.history, benchmark_table(path))}")
        except (UnusableRun, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            code = 2
    return code
