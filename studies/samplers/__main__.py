"""Prints the samplers' table; with `--write`, puts it into docs/samplers.md.

    python -m studies.samplers [--seeds N] [--peer-seeds N] [--only TEXT] [--write]

Exit 1 where our own sampler misses what it has to reach.
"""

from __future__ import annotations

import argparse
import sys

from studies.samplers.goals import goals
from studies.samplers.page import table_text, write_page
from studies.samplers.rules import RULES
from studies.samplers.scenarios import scenarios
from studies.samplers.trial import Outcome, trial


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m studies.samplers", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=200, help="runs of our sampler a scenario (default: 200)")
    parser.add_argument("--peer-seeds", type=int, default=5, help="runs of each other one (default: 5)")
    parser.add_argument("--only", default="", help="only scenarios whose name holds this")
    parser.add_argument("--write", action="store_true", help="put the table into docs/samplers.md")
    options = parser.parse_args(arguments)
    outcomes: list[Outcome] = []
    for scenario in scenarios():
        if options.only in scenario.name:
            outcomes += [trial(name, scenario, range(options.seeds if name == "ours" else options.peer_seeds)) for name in RULES]
            if sys.stderr.isatty():
                print(f"\r{scenario.name:40}", end="", file=sys.stderr)
    met = goals(outcomes)
    print(table_text(outcomes, met))
    if options.write:
        print(f"written: {write_page(outcomes, met, options.seeds, options.peer_seeds)}")
    return 0 if all(goal.met for goal in met) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
