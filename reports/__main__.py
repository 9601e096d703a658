"""`python -m reports COMMAND`: what was found. Exit code 2 where a command has nothing to work on; a line says what."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection
from importlib import import_module

from kernels.guard import check_imports, missing_package_in_a_line

check_imports()

from kernels.printing import print_safely  # noqa: E402
from reports.refusal import RunError  # noqa: E402

if __name__ == "__main__":
    print_safely()

# A command's module is imported only when that command is given: importing those of all commands takes seconds.
COMMANDS = {
    "html": ("reports.build", "regenerate a run's page, rows.parquet and rows.csv from its journal"),
    "table": ("reports.tables", "print chosen columns of a run's rows as Markdown, CSV, LaTeX or JSON"),
    "chart": ("reports.picture", "save a chart of a run's page as SVG or PNG"),
    "compare": ("reports.compare.compare_command", "compare two runs: which points became slower, faster or wrong"),
    "explain": ("reports.explain", "explain a point's time: tiles and waves, bandwidth, launches, clock, and an unexplained rest"),
    "nightly": ("reports.nightly.nightly_command", "add a run to a history and judge it; the exit code is the verdict"),
    "survey": ("reports.survey.survey_command", "find the slow GPU of a survey; the exit code is the verdict"),
    "import": ("reports.history.import_command", "add pytest-benchmark's JSON files to a history"),
    "demo-history": ("reports.nightly.demo", "make a simulated history with known changes, to see what `nightly` reports"),
    "calibrate": ("reports.calibrate.calibrate_command", "fit the cost model's constants to runs, and report how good the fit is"),
    "validation": ("reports.validation.validation_command", "write the results of a first contact to docs/validation as evidence"),
    "reference": ("reports.reference.reference_command", "generate docs/reference from the code: commands, options, keys, fields"),
    "napkin": ("reports.napkin.napkin_command", "compute training time or largest model step by step from a question in YAML"),
}


def make_parser(complete: Collection[str]) -> argparse.ArgumentParser:
    """Every command; those named in `complete` with their arguments."""
    parser = argparse.ArgumentParser(prog="python -m reports", description="Reports, comparisons and verdicts from runs.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (module, what) in COMMANDS.items():
        command = commands.add_parser(name, help=what, description=what)
        if name in complete:
            import_module(module).add_arguments(command)
    return parser


def main(arguments: list[str] | None = None) -> int:
    asked = sys.argv[1:] if arguments is None else arguments
    with missing_package_in_a_line():  # a command imports some packages only when it runs
        given = make_parser(asked[:1]).parse_args(asked)
        try:
            return given.run(given)
        except RunError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
