"""`python -m reports compare RUN_A RUN_B`, or `compare RUN_A… --vs RUN_B…` of several runs each."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kernels.console import open_console
from kernels.writing import write_text
from reports.refusal import RunError, check_folder, writing
from reports.report import load_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="two runs: before and after; or, with --vs, those before")
    parser.add_argument(
        "--vs",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="the runs after, where a side has several of the same code: best taken alternately, before after before after …",
    )
    parser.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help="where the page goes (<last run after>/compare-<name of the last before>.html)"
    )
    for name, what in (
        ("json", "counts, families and every point"),
        ("markdown", "the changes, for a pull request's comment"),
        ("csv", "every point"),
    ):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"also write {what} to FILE")
    parser.add_argument(
        "--threshold",
        type=_percent,
        metavar="PERCENT",
        help="changes smaller than this are ignored (3; where both ran on a CPU 10)",
    )
    parser.add_argument("--all", action="store_true", help="print every pair, not only the first of those that changed")
    parser.add_argument("--fail-on-slower", action="store_true", help="exit 1 where a point or a family's mean is slower, or fails now")
    parser.set_defaults(run=run)


def _percent(text: str) -> float:
    value = float(text.removesuffix("%"))
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"{text}: a percentage above 0, such as 3")
    return value / 100


def run(given: argparse.Namespace) -> int:
    """Exit code 0 compared, 1 with --fail-on-slower where something is worse. Raises RunError where runs cannot be compared or a file
    not written."""
    from reports.compare.comparison import compare  # scipy takes a second to import, which the other commands need not wait for
    from reports.compare.comparison_files import to_csv, to_json, to_markdown
    from reports.compare.comparison_page import write_page
    from reports.compare.comparison_text import show

    before, after = (given.runs, given.vs) if given.vs else (given.runs[:1], given.runs[1:])
    if not given.vs and len(given.runs) != 2:
        raise RunError(f"two runs are compared, {len(given.runs)} named: several of a side go before and after --vs")
    out = given.out or after[-1] / f"compare-{before[-1].resolve().name}.html"
    check_folder(given.out)
    found = compare([load_report(run) for run in before], [load_report(run) for run in after], given.threshold)
    with writing(out):
        page = write_page(found, out)
    for asked, make in ((given.json, to_json), (given.markdown, to_markdown), (given.csv, to_csv)):
        if asked is not None:
            with writing(asked):
                write_text(asked, make(found))
    for problem in (*found.a.problems, *found.b.problems):
        print(f"warning: {problem}", file=sys.stderr)
    show(found, open_console(), given.all)
    print(page)
    return 1 if given.fail_on_slower and found.worse else 0
