"""`python -m reports COMMAND`: what was found. Exit code 2 where a command has nothing to work on; a line says what."""

from __future__ import annotations

import argparse
import sys

from kernels.guard import check_imports

check_imports()

from kernels.printing import print_safely  # noqa: E402

if __name__ == "__main__":
    print_safely()

from reports import build  # noqa: E402  (after the guard: a stranger's package must not be imported first)
from reports.calibrate import command as calibrate  # noqa: E402
from reports.compare import command as compare  # noqa: E402
from reports.history import command as history  # noqa: E402
from reports.napkin import command as napkin  # noqa: E402
from reports.nightly import command as nightly  # noqa: E402
from reports.nightly import demo  # noqa: E402
from reports.validation import command as validation  # noqa: E402

COMMANDS = (
    ("html", build, "(re)build a run's page, rows.parquet and rows.csv from its journal"),
    ("compare", compare, "two runs side by side: what became slower, faster or wrong"),
    ("nightly", nightly, "add a run to a history and judge it: the verdict is the exit code"),
    ("import", history, "add pytest-benchmark's JSON files to a history"),
    ("demo-history", demo, "a simulated history with planted changes, to see what `nightly` says"),
    ("calibrate", calibrate, "fit the cost model's constants to runs, and say how good the fit is"),
    ("validation", validation, "what a first contact found on a board, as evidence in docs/validation"),
    ("napkin", napkin, "training time and largest model, from a question in YAML, step by step"),
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m reports", description="What was found in runs.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module, what in COMMANDS:
        module.add_arguments(commands.add_parser(name, help=what, description=what))
    given = parser.parse_args(arguments)
    return given.run(given)


if __name__ == "__main__":
    sys.exit(main())
