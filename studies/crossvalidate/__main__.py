"""Repeats the fits behind configs/gpus/h100_sxm5.yaml and prints their errors on rows not fitted; `--write` puts them into the docs.

    MICROBENCH_H100_DATA=DIR python -m studies.crossvalidate [--write]

Exit 1 where an error is above its limit, 2 without the data.
"""

from __future__ import annotations

import argparse
import sys

from studies.crossvalidate.page import tables, write_page
from studies.crossvalidate.study import everything


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m studies.crossvalidate", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/cost_model.md")
    given = parser.parse_args(arguments)
    try:
        results = everything()
    except (LookupError, OSError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    print("\n".join(tables(results)))
    if given.write:
        print(f"written: {write_page(results)}")
    return 0 if all(result.met for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
