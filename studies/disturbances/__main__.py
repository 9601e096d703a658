"""Rows that end `ok` beside other work, against quiet ones; with `--write`, docs/disturbances.md.

    python -m studies.disturbances [--quiet N] [--each N] [--sweep NAME|PATH] [--write]

Takes about eight minutes on two cores (15 runs of 27 points) and wants an idle machine. Exit 1 where more than 5% of the ok rows are off, 2
where no point ended ok in enough quiet runs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benches.devices.cores import thread_count, usable_cores
from studies.disturbances.page import REACH, off_lines, spread_line, table, write_page
from studies.disturbances.trial import LEAST, Found, Run, describe, judge, judge_quiet, points, reference, run_points, spread
from studies.disturbances.work import KINDS, Work


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m studies.disturbances", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quiet", type=int, default=7, metavar="N", help="quiet runs (default: 7)")
    parser.add_argument("--each", type=int, default=2, metavar="N", help="runs beside each kind of work (default: 2)")
    parser.add_argument("--sweep", default="smoke", metavar="NAME|PATH", help="of whose fp32 points half are measured (default: smoke)")
    parser.add_argument("--write", action="store_true", help="write docs/disturbances.md")
    options = parser.parse_args(arguments)
    if options.quiet <= LEAST or options.each < 1:
        parser.error(f"--quiet: give more than {LEAST}, to see how far quiet runs differ; --each: give at least 1")
    quiet, disturbed = all_runs(options.sweep, options.quiet, options.each)
    right = reference(quiet)
    if not right:
        print(f"error: no point ended ok in {LEAST} quiet runs: the machine is not idle", file=sys.stderr)
        return 2
    found = [judge_quiet(quiet), *(judge(work.name, runs, right) for work, runs in disturbed)]
    print("\n".join([*table(found), *off_lines(found), "", spread_line(spread(right), len(quiet))]))
    if options.write:
        print(f"written: {write_page(found, spread(right), len(quiet), options.each, options.sweep, thread_count())}")
    return 0 if good(found) else 1


def all_runs(sweep: str, quiet: int, each: int) -> tuple[list[Run], list[tuple[Work, list[Run]]]]:
    """Quiet runs, and runs by kind of other work, alternating so that what drifts falls on all. Prints progress on stderr."""
    plan = in_turns(quiet, each)
    asked, made = points(sweep), [(None, list[Run]()), *((work, list[Run]()) for work in KINDS)]
    with tempfile.TemporaryDirectory() as folder:
        described = describe(Path(folder))
        for done, work in enumerate(plan):
            print(f"{work.name if work else 'quiet'} ({done + 1} of {len(plan)})", file=sys.stderr)
            run = run_points(asked, Path(folder), work, described, usable_cores())
            next(runs for kind, runs in made if kind == work).append(run)
    return made[0][1], [(work, runs) for work, runs in made if work is not None]


def in_turns(quiet: int, each: int) -> list[Work | None]:
    """The order of runs, quiet ones (None) spread evenly between the others and at either end."""
    others = [work for _ in range(each) for work in KINDS]
    places = [round(i * len(others) / (quiet - 1)) for i in range(quiet)]
    order: list[Work | None] = []
    for i in range(len(others) + 1):
        order += [None] * places.count(i)
        order += others[i : i + 1]
    return order


def good(found: Sequence[Found]) -> bool:
    """Whether at most REACH of the ok rows are off, beside every kind of work."""
    return all(one.share <= REACH for one in found[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
