"""`python -m reports COMMAND`: what was found. Exit code 2 where a command has nothing to work on; a line says what."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection
from importlib import import_module

from kernels.guard import check_imports, missing_package_in_a_line

check_imports()

from kernels.printing import print_safely  # noqa: E402

if __name__ == "__main__":
    print_safely()

# A command's module is imported only when that command is given: importing those of all commands takes seconds.
COMMANDS = {
    "html": ("reports.build", "make a run's page, rows.parquet and rows.csv again from its journal"),
    "table": ("reports.tables", "chosen columns of a run's rows as Markdown, CSV, LaTeX or JSON"),
    "chart": ("reports.picture", "a chart of a run's page as SVG or PNG"),
    "compare": ("reports.compare.compare_command", "two runs side by side: what became slower, faster or wrong"),
    "explain": ("reports.explain", "where a point's time goes: tiles and waves, bandwidth, launches, clock, and what is not explained"),
    "nightly": ("reports.nightly.nightly_command", "add a run to a history and judge it: the verdict is the exit code"),
    "import": ("reports.history.import_command", "add pytest-benchmark's JSON files to a history"),
    "demo-history": ("reports.nightly.demo", "a simulated history with planted changes, to see what `nightly` reports"),
    "calibrate": ("reports.calibrate.calibrate_command", "fit the cost model's constants to runs, and report how good the fit is"),
    "validation": ("reports.validation.validation_command", "what a first contact found on a board, as evidence in docs/validation"),
    "reference": ("reports.reference.reference_command", "the pages of docs/reference, from the code: commands, options, keys, fields"),
    "napkin": ("reports.napkin.napkin_command", "training time and largest model, from a question in YAML, step by step"),
}


def make_parser(complete: Collection[str]) -> argparse.ArgumentParser:
    """Every command; those named in `complete` with their arguments."""
    parser = argparse.ArgumentParser(prog="python -m reports", description="What was found in runs.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (module, what) in COMMANDS.items():
        command = commands.add_parser(name, help=what, description=what)
        if name in complete:
            import_module(module).add_arguments(command)
    return parser


def main(arguments: list[str] | None = None) -> int:
    asked = sys.argv[1:] if arguments is None else arguments
    with missing_package_in_a_line():
        parser = make_parser(asked[:1])
    given = parser.parse_args(asked)
    return given.run(given)


if __name__ == "__main__":
    sys.exit(main())
