"""A/A on real runs, and a planted slowdown; with `--write`, docs/aa.md.

    python -m tests.aa [--runs N] [--sweep NAME|PATH] [--plant OP:IMPL] [--folder DIR] [--write]

Takes as long as N + 2 runs of the sweep (smoke: about three minutes each) and wants an idle machine. Exit 1 where the same code was called
slower or faster, or where planted points were not found.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

from tests.aa.page import falsely, result, table, write_page
from tests.aa.plant import Plant, parse
from tests.aa.trial import RunFailed, Trial, planted, run, same_code

FOUND = 0.8  # of the planted points, at least


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.aa", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=11, help="runs of the same code; each is compared with the one before (default: 11)")
    parser.add_argument("--sweep", default="smoke", metavar="NAME|PATH", help="what they run (default: smoke)")
    parser.add_argument(
        "--plant", type=implementation, default="elementwise:torch", metavar="OP:IMPL", help="what is slowed (elementwise:torch)"
    )
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep the runs here; those that are there already are not run again")
    parser.add_argument("--write", action="store_true", help="write docs/aa.md")
    options = parser.parse_args(arguments)
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
    with nullcontext(options.folder) if options.folder else tempfile.TemporaryDirectory() as folder:
        try:
            trials = all_trials(Path(folder).resolve(), options.runs, options.sweep, options.plant)
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


def all_trials(folder: Path, runs: int, sweep: str, plant: Plant) -> list[Trial]:
    """A/A pairs, then the planted one; says on stderr how far it is."""
    names = [f"run-{i:02}" for i in range(runs)]
    dirs = []
    for name in names:
        print(f"{name} of {runs}", file=sys.stderr)
        dirs.append(run(folder, name, sweep))
    trials = [same_code(a, b) for a, b in pairwise(dirs)]
    print("the planted pair", file=sys.stderr)
    return [*trials, planted(folder, sweep, plant)]


def good(trials: list[Trial]) -> bool:
    """Nothing of the same code called; of the planted points enough found, and none called the same or faster."""
    return not falsely(trials) and all(t.found >= FOUND * t.planted and t.missed == 0 for t in trials)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
