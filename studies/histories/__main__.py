"""Prints what the verdict's rule, and others, make of simulated histories; with `--write`, puts it into docs/verdicts.md.

    python -m studies.histories [--seeds N] [--first SEED] [--write]

Exit 1 where our rule misses what it has to reach. The rule was tuned on seeds 100 to 311: judge it on others.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import product

from studies.histories.goals import WORLDS, goals
from studies.histories.page import table_text, write_page
from studies.histories.rules import RULES
from studies.histories.score import Score, score
from studies.histories.simulate import simulate

OURS = "ours"
COMPARED = 3  # worlds in which the other rules are tried as well


def trial(world: str, rule: str, seed: int) -> Score:
    history = simulate(WORLDS[world], seed)
    return score(RULES[rule](history), history)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m studies.histories", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=40, help="histories a world (default: 40)")
    parser.add_argument("--first", type=int, default=1000, help="the first seed (default: 1000)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/verdicts.md")
    options = parser.parse_args(arguments)
    seeds = range(options.first, options.first + options.seeds)
    cases = [(world, rule) for i, world in enumerate(WORLDS) for rule in RULES if rule == OURS or i < COMPARED]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        jobs = {(case, seed): pool.submit(trial, *case, seed) for case, seed in product(cases, seeds)}
        table = {world: {rule: Score() for w, rule in cases if w == world} for world in WORLDS}
        for ((world, rule), _), job in jobs.items():
            table[world][rule] += job.result()
    met = goals({world: scores[OURS] for world, scores in table.items()})
    print(table_text(table, met))
    if options.write:
        print(f"written: {write_page(table, met, seeds)}")
    return 0 if all(goal.met for goal in met) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
