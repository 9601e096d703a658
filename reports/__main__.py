"""`python -m reports html RUN_DIR [-o FILE]`: (re)builds the page of a run. Exit code 2 where there is nothing to build it from."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kernels.guard import check_imports

check_imports()

from reports.build import write_report  # noqa: E402  (after the guard: a stranger's package must not be imported first)
from reports.napkin import command as napkin  # noqa: E402
from reports.nightly import command as nightly  # noqa: E402
from reports.nightly import demo  # noqa: E402
from reports.report import RunError, load_report  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m reports", description="What was found in a run.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    page = commands.add_parser("html", help="(re)build a run's page, rows.parquet and rows.csv from its journal")
    page.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    page.add_argument("-o", "--out", type=Path, metavar="FILE", help="where the page goes (RUN_DIR/report.html)")
    page.set_defaults(run=_html)
    nightly.add_arguments(commands.add_parser("nightly", help="add a run to a history and judge it: the verdict is the exit code"))
    demo.add_arguments(commands.add_parser("demo-history", help="a simulated history with planted changes, to see what `nightly` says"))
    napkin.add_arguments(commands.add_parser("napkin", help="training time and largest model, from a question in YAML, step by step"))
    given = parser.parse_args(arguments)
    return given.run(given)


def _html(given: argparse.Namespace) -> int:
    if given.out and not given.out.parent.is_dir():
        print(f"error: {given.out.parent}: no such directory", file=sys.stderr)
        return 2
    try:
        report = load_report(given.run_dir)
        for problem in report.problems:
            print(f"warning: {problem}", file=sys.stderr)
        path = write_report(report, given.out)
    except (RunError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
