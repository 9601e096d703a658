"""A/A on real runs, and a planted slowdown; with `--write`, docs/aa.md.

    python -m tests.aa [--runs N] [--each N] [--sweep NAME|PATH] [--plant OP:IMPL] [--folder DIR] [--write]

Takes as long as its runs of the sweep (24 of smoke: about two minutes each) and wants an idle machine. Exit 1 where the same code was
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

from tests.aa.page import falsely, result, table, write_page
from tests.aa.plant import Plant, parse
from tests.aa.trial import TIMES, RunFailed, Trial, judge, nights, run, together

FOUND = 0.8  # of the planted points, at least, by several runs a side


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.aa", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=19, help="runs of the same code (default: 19)")
    parser.add_argument("--each", type=int, default=5, help="runs of a side, and with the planted slowdown (default: 5)")
    parser.add_argument("--sweep", default="smoke", metavar="NAME|PATH", help="what they run (default: smoke)")
    parser.add_argument(
        "--plant", type=implementation, default="elementwise:torch", metavar="OP:IMPL", help="what is slowed (elementwise:torch)"
    )
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep the runs here; those that are there already are not run again")
    parser.add_argument("--write", action="store_true", help="write docs/aa.md")
    options = parser.parse_args(arguments)
    if options.runs < 2 * options.each:
        parser.error(f"--runs {options.runs}: two sides of {options.each} need {2 * options.each}")
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
    with nullcontext(options.folder) if options.folder else tempfile.TemporaryDirectory() as folder:
        try:
            same, slowed = all_runs(Path(folder).resolve(), options.runs, options.each, options.sweep, options.plant)
        except RunFailed as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        trials = all_trials(same, slowed, options.plant)
    print("\n".join([*table(trials), *falsely(trials), "", result(trials)]))
    if options.write:
        print(f"written: {write_page(trials, options.each, options.sweep, options.plant)}")
    return 0 if good(trials) else 1


def implementation(text: str) -> Plant:
    """For argparse."""
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def all_runs(folder: Path, runs: int, each: int, sweep: str, plant: Plant) -> tuple[list[Path], list[Path]]:
    """Runs of the same code, and runs with the slowdown, which take turns with the last of the former; says on stderr how far it is."""
    same, slowed = [], []
    before, after = (replace(plant, times=times) for times in TIMES)
    for i in range(runs):
        print(f"run {i + 1} of {runs} of the same code", file=sys.stderr)
        same.append(run(folder, f"run-{i:02}", sweep, before))
        if i >= runs - each:
            slowed.append(run(folder, f"planted-{i - runs + each:02}", sweep, after))
    return same, slowed


def all_trials(same: Sequence[Path], slowed: Sequence[Path], plant: Plant) -> list[Trial]:
    """The same code by one run a side and by several in turns, each time from the first run to the last; then the slowdown alike; then all
    as nights."""
    each = len(slowed)
    several = [judge(same[i : i + 2 * each : 2], same[i + 1 : i + 2 * each : 2], None) for i in range(len(same) - 2 * each + 1)]
    last = same[-each:]
    return [
        together("same code, one run a side", [judge([a], [b], None) for a, b in pairwise(same)]),
        together(f"same code, {each} runs a side", several),
        together("slowed, one run a side", [judge([a], [b], plant) for a, b in zip(last, slowed, strict=True)]),
        together(f"slowed, {each} runs a side", [judge(last, slowed, plant)]),
        nights("same code, nightly", same, [], None),
        nights("slowed, nightly", same[:-each], slowed, plant),
    ]


def good(trials: Sequence[Trial]) -> bool:
    """Nothing of the same code called; with several runs a side enough of what was planted found, and none called the same or faster."""
    several = [trial for trial in trials if trial.planted and "runs a side" in trial.name]
    return not falsely(trials) and all(trial.found >= FOUND * trial.planted and trial.missed == 0 for trial in several)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
