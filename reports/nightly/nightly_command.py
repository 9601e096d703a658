"""`python -m reports nightly RUN_DIR --history DIR`: adds the run, judges it, and says so in the exit code.

0 nothing is confirmed; 1 a confirmed regression, or a point that worked and fails; 2 unusable input; 3 the run is suspect.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import duckdb

from kernels.console import open_console
from kernels.strict_yaml.problems import SweepError
from kernels.writing import write_text
from reports.history.record import UnusableRun
from reports.nightly import files, night_page
from reports.nightly.night import judge_run, write_pages
from reports.nightly.night_verdict import Judged
from reports.nightly.nights import EACH_RUN, night_from
from reports.nightly.verdict_text import show
from reports.nightly.words import summary
from reports.refusal import attempt, check_folder
from reports.verdict.accepted import load_accepted
from reports.verdict.rule import DEFAULT
from reports.verdict.thresholds import load_thresholds

PAGE = "the page (-o names another place)"
SUMMARY = "GITHUB_STEP_SUMMARY"  # a file that GitHub Actions shows on the job's page


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="the run to add and judge")
    parser.add_argument("--history", type=Path, required=True, metavar="DIR", help="directory of the history; created if it does not exist")
    parser.add_argument("--accepted", type=Path, metavar="FILE", help="YAML of accepted changes; each is reported once")
    parser.add_argument(
        "--thresholds", type=Path, metavar="FILE", help="YAML of the smallest change that matters, by op (configs/verdicts/default.yaml)"
    )
    parser.add_argument("--each-run", action="store_true", help="every run is a night of its own; default: one night a day")
    parser.add_argument("--rerun", action="store_true", help="measure points that look slow tonight again, in a fresh process")
    parser.add_argument("--prune", type=days, metavar="DAYS", help="delete runs of the history that are older")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help=f"where the page goes (RUN_DIR/{night_page.NAME})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the verdict as JSON")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="the verdict as JUnit XML")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help=f"a summary in Markdown; also added to ${SUMMARY} where that is set")
    parser.add_argument("--webhook-text", action="store_true", help="print only a few lines for a webhook to stdout")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """The exit code of the module's docstring."""
    check_folder(given.out)
    try:
        thresholds = load_thresholds(given.thresholds) if given.thresholds else load_thresholds()
        accepted = load_accepted(given.accepted) if given.accepted else []
        calendar = EACH_RUN if given.each_run else night_from(thresholds.night_starts_utc)
        night = judge_run(given.run_dir, given.history, thresholds, accepted, calendar, given.prune, given.rerun)
    except SweepError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 2
    except (UnusableRun, OSError, duckdb.Error) as error:
        print(f"error: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    except Exception:  # Python's own exit code would be 1, which here is a regression
        traceback.print_exc()
        return 2
    judged = night.judged
    page_at = attempt(PAGE, lambda: write_pages(night, given.out))
    written = [page_at, *(attempt(str(path), partial(_write, path, make)) for path, make in _asked(judged, given))]
    if given.webhook_text:
        print("\n".join(summary(judged.verdict)))
    else:
        show(judged.verdict, open_console())
    if page_at:
        print(f"page: {page_at}" if given.webhook_text else page_at)
    return judged.verdict.exit_code or (0 if all(written) else 2)  # the verdict stands


def days(text: str) -> float:
    """For argparse: how long a history is kept."""
    value = float(text)
    if not 1 <= value <= 36500:
        raise argparse.ArgumentTypeError(f"{text}: days, from 1 to 36500; a verdict looks {DEFAULT.lookback} nights back")
    return value


def _asked(judged: Judged, given: argparse.Namespace) -> Iterator[tuple[Path, Callable[[], str]]]:
    """The files that were asked for, and what makes each."""
    made = {
        given.json: lambda: files.to_json(judged.verdict),
        given.junit: lambda: files.to_junit(judged.verdict),
        given.markdown: lambda: files.to_markdown(judged.verdict),
    }
    yield from ((path, make) for path, make in made.items() if path is not None)
    if os.environ.get(SUMMARY):
        yield Path(os.environ[SUMMARY]), lambda: files.to_markdown(judged.verdict)


def _write(path: Path, make: Callable[[], str]) -> Path:
    """GitHub's summary is added to, the others are written whole. Raises OSError."""
    text = make()
    if str(path) == os.environ.get(SUMMARY):
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    else:
        write_text(path, text)
    return path
