"""A/A on real runs, and a planted slowdown; with `--write`, docs/aa.md.

    python -m studies.aa [--runs N] [--nights N] [--sweep NAME|PATH] [--plant OP:IMPL] [--folder DIR] [--write]

Takes as long as its runs of the sweep (35 of smoke: about two minutes each) and wants an idle machine. Exit 1 where the same code was
called slower or faster, or where several runs a side did not find what was planted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from studies.aa.page import falsely, result, table, write_page
from studies.aa.plant import Plant, parse
from studies.aa.trial import TIMES, RunFailed, Trial, judge, nights, run, together

EACH = 5  # runs a side, from which what is planted is to be found
FOUND = 0.8  # of the planted points, at least


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m studies.aa", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=11, help="runs of the same code (default: 11)")
    parser.add_argument("--nights", type=int, default=19, help="runs before the slowdown (default: 19)")
    parser.add_argument("--sweep", default="smoke", metavar="NAME|PATH", help="sweep that they run (default: smoke)")
    parser.add_argument(
        "--plant", type=implementation, default="elementwise:torch", metavar="OP:IMPL", help="what is slowed (elementwise:torch)"
    )
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep the runs here; those that are there already are not run again")
    parser.add_argument("--write", action="store_true", help="write docs/aa.md")
    options = parser.parse_args(arguments)
    if min(options.runs, options.nights) < 2 * EACH:
        parser.error(f"two sides of {EACH} runs need {2 * EACH}")
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
    with nullcontext(options.folder) if options.folder else tempfile.TemporaryDirectory() as folder:
        try:
            runs = all_runs(Path(folder).resolve(), options.runs, options.nights, options.sweep, options.plant)
            trials = all_trials(*runs, options.plant)
        except RunFailed as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    print("\n".join([*table(trials), *falsely(trials), "", result(trials)]))
    if options.write:
        print(f"written: {write_page(trials, options.sweep, options.plant)}")
    return 0 if good(trials) else 1


def implementation(text: str) -> Plant:
    """For argparse."""
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def all_runs(folder: Path, runs: int, nights: int, sweep: str, plant: Plant) -> tuple[list[Path], list[Path], list[Path]]:
    """Runs of the code as it is; runs in which the planted implementation does its work TIMES[0] times; and, alternating with the last of
    these, runs in which it does it TIMES[1] times. Says on stderr how far it is."""
    before, after = (replace(plant, times=times) for times in TIMES)
    plan: list[tuple[str, int, Plant | None]] = [("run", i, None) for i in range(runs)]
    for i in range(nights):
        plan.append(("before", i, before))
        if i >= nights - EACH:
            plan.append(("after", i - nights + EACH, after))
    made: dict[str, list[Path]] = {"run": [], "before": [], "after": []}
    for done, (kind, i, planted) in enumerate(plan):
        print(f"{kind} {i} ({done + 1} of {len(plan)})", file=sys.stderr)
        made[kind].append(run(folder, f"{kind}-{i:02}", sweep, planted))
    return made["run"], made["before"], made["after"]


def all_trials(same: Sequence[Path], before: Sequence[Path], after: Sequence[Path], plant: Plant) -> list[Trial]:
    """The same code by one run a side and by several alternating, each time from the first run to the last; then the slowdown alike; then
    all as nights."""
    last = before[-EACH:]
    found = [
        together("same code, one run a side", [judge([a], [b], None) for a, b in pairwise(same)]),
        *(together(f"same code, {each} runs a side", in_turns(same, each)) for each in (3, EACH)),
        together("slowed, one run a side", [judge([a], [b], plant) for a, b in zip(last, after, strict=True)]),
        together("slowed, 3 runs a side", [judge(last[-3:], after[-3:], plant)]),
        together(f"slowed, {EACH} runs a side", [judge(last, after, plant)]),
        nights("same code, nightly", same, [], None),
        nights(f"same code with {TIMES[0]} times the work, nightly", before, [], None),
        nights("slowed, nightly", before[:-EACH], after, plant),
    ]
    return [trial for trial in found if trial.pairs]  # few runs are too few nights


def in_turns(runs: Sequence[Path], each: int) -> list[Trial]:
    """Of 2 · each runs in a row the 1st, 3rd, … against the 2nd, 4th, …, beginning with each run in turn: they overlap."""
    return [judge(runs[i : i + 2 * each : 2], runs[i + 1 : i + 2 * each : 2], None) for i in range(len(runs) - 2 * each + 1)]


def good(trials: Sequence[Trial]) -> bool:
    """Nothing of the same code called; with several runs a side enough of what was planted found, and none called the same or faster."""
    several = [trial for trial in trials if trial.planted and f"{EACH} runs a side" in trial.name]
    return not falsely(trials) and all(trial.found >= FOUND * trial.planted and trial.missed == 0 for trial in several)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
