"""Prints how often a survey's verdict errs on simulated fleets; with `--write`, puts it into docs/fleet.md.

    python -m studies.fleets [--fleets N] [--slow N] [--first SEED] [--jobs N] [--triage | --reading] [--write]

With `--triage` it compares few points on every GPU, and the whole sweep where in doubt, with the whole sweep on all. With `--reading` it
measures how much time reading a survey, its verdict and its page take.
Exit 1 where it misses what it has to reach. The rule was tuned on seeds below 1000 and 5000 to 5099: judge it on others.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial

from benches.devices.cpu import cpu_model
from kernels.guard import ROOT
from studies.fleets.goals import found_table, health_table, missed
from studies.fleets.reading import POINTS, SLOW_OF, missed_by_reading, reading_table, readings
from studies.fleets.score import Found, Health, found, health
from studies.fleets.triage import TRIALS, missed_by_triage, triage_table, trial
from studies.fleets.worlds import HEALTHY, PLANTED
from studies.marked import replace_between

PAGE = ROOT / "docs" / "fleet.md"
BEGIN, END = "<!-- made by python -m studies.fleets --write -->", "<!-- end of fleets -->"
TRIAGE_MARKS = "<!-- made by python -m studies.fleets --triage --write -->", "<!-- end of triage -->"
READING_MARKS = "<!-- made by python -m studies.fleets --reading --write -->", "<!-- end of reading -->"


def healthy_fleet(world: str, seed: int) -> Health:
    return health(HEALTHY[world], seed)


def planted_fleet(world: str, seed: int) -> list[Found]:
    one = PLANTED[world]
    return found(one.world, seed, one.kinds, one.each, one.by)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m studies.fleets", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--fleets", type=int, default=200, help="healthy fleets of each kind (default: 200)")
    parser.add_argument("--slow", type=int, default=100, help="fleets of each kind with slow GPUs (default: 100)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: a CPU each)")
    parser.add_argument("--first", type=int, default=10_000, help="the first seed (default: 10000)")
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--triage", action="store_true", help="measure all GPUs briefly, then those in doubt: against the whole sweep on all"
    )
    other.add_argument("--reading", action="store_true", help="measure how much time reading a survey, its verdict and its page take")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/fleet.md")
    options = parser.parse_args(arguments)
    seeds = range(options.first, options.first + options.fleets)
    if options.reading:
        found = list(readings())
        return shown(reading_table(found), missed_by_reading(found), READING_MARKS, about_reading(), options.write)
    if options.triage:
        return triage(seeds[: options.slow], options.jobs, options.write)
    with ProcessPoolExecutor(options.jobs) as pool:
        sound = {world: pool.map(partial(healthy_fleet, world), seeds, chunksize=5) for world in HEALTHY}
        slow = {world: pool.map(partial(planted_fleet, world), seeds[: options.slow], chunksize=5) for world in PLANTED}
        healthy = {world: list(scores) for world, scores in sound.items()}
        planted = {world: [one for scores in fleets for one in scores] for world, fleets in slow.items()}
    return shown(
        [*health_table(healthy), "", *found_table(planted)], missed(healthy, planted), (BEGIN, END), of_seeds(seeds), options.write
    )


def triage(seeds: range, jobs: int, write: bool) -> int:
    """The exit code, after the table of triage is printed."""
    with ProcessPoolExecutor(jobs) as pool:
        every = {name: pool.map(partial(trial, name), seeds, chunksize=5) for name in TRIALS}
        outcomes = {name: list(fleets) for name, fleets in every.items()}
    return shown(triage_table(outcomes), missed_by_triage(outcomes), TRIAGE_MARKS, of_seeds(seeds), write)


def of_seeds(seeds: range) -> str:
    """What the line above a table of simulated fleets ends with."""
    return f"seeds {seeds.start} to {seeds.stop - 1}"


def about_reading() -> str:
    """What the line above the table of `--reading` ends with."""
    return f"{POINTS} points, one GPU in {SLOW_OF} slow, CPU time of all threads, {cpu_model()}"


def shown(tables: Sequence[str], wrong: Sequence[str], marks: tuple[str, str], about: str, write: bool) -> int:
    """The exit code, after the tables and what is not reached are printed, and the tables written where that is asked for."""
    print("\n".join([*tables, "", *(wrong or ["all that is to be reached is reached"])]))
    if write:
        write_page(tables, about, marks)
        print(f"written: {PAGE}")
    return 1 if wrong else 0


def write_page(tables: Sequence[str], about: str, marks: tuple[str, str] = (BEGIN, END)) -> None:
    """Puts the tables, after a line on how they were made, between two marks of docs/fleet.md. Raises ValueError where one is missing."""
    made = f"Made {datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {about}."
    replace_between(PAGE, *marks, [made, "", *tables])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
