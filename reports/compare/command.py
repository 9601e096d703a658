"""`python -m reports compare RUN_A RUN_B [-o FILE] [--threshold PERCENT] [--all] [--fail-on-slower]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from reports.report import RunError, load_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_a", type=Path, metavar="RUN_A", help="what is compared with: the run before")
    parser.add_argument("run_b", type=Path, metavar="RUN_B", help="what is compared: the run after")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="where the page goes (RUN_B/compare-<name of RUN_A>.html)")
    parser.add_argument(
        "--threshold",
        type=_percent,
        metavar="PERCENT",
        help="a change smaller than this is none in practice (3; where both ran on a CPU 10)",
    )
    parser.add_argument("--all", action="store_true", help="print every pair, not only the first of those that changed")
    parser.add_argument("--fail-on-slower", action="store_true", help="exit 1 where a pair is slower")
    parser.set_defaults(run=run)


def _percent(text: str) -> float:
    value = float(text.removesuffix("%"))
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"{text}: a percentage above 0, such as 3")
    return value / 100


def run(given: argparse.Namespace) -> int:
    """Exit code 0 compared, 1 with --fail-on-slower where a pair is slower, 2 where the runs cannot be compared or the page not written."""
    from reports.compare.comparison import compare  # scipy takes a second to import, which the other commands need not wait for
    from reports.compare.page import write_page
    from reports.compare.show import show

    out = given.out or given.run_b / f"compare-{given.run_a.resolve().name}.html"
    if not out.parent.is_dir() and given.out:
        print(f"error: {out.parent}: no such directory", file=sys.stderr)
        return 2
    try:
        a, b = load_report(given.run_a), load_report(given.run_b)
        for problem in (f"{report.run_dir}: {problem}" for report in (a, b) for problem in report.problems):
            print(f"warning: {problem}", file=sys.stderr)
        found = compare(a, b, given.threshold)
        show(found, Console(), given.all)
        write_page(found, out)
    except (RunError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(out)
    return 1 if given.fail_on_slower and len(found.of("slower")) else 0
