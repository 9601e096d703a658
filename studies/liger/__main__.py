"""Checks Liger's kernels in Triton's interpreter and compiles them for a GPU; with `--write`, puts the table into docs/liger.md.

    python -m studies.liger [--gpu NAME] [--jobs N] [--write]

Exit 0 where all are right and compiled without a complaint, 1 where one is not, 2 where the package is missing.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec

from kernels import interpreter
from kernels.gpus import DEFAULT_GPU, find_gpu, gpu_help


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m studies.liger", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--gpu", default=DEFAULT_GPU, metavar="NAME|PATH", help=gpu_help())
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes that compile (default 2)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/liger.md")
    options = parser.parse_args(arguments)
    if find_spec("liger_kernel") is None:
        install = "pip install --no-deps --target DIR liger-kernel"
        print(f"error: liger-kernel is not installed: {install}, then PYTHONPATH=DIR python -m studies.liger", file=sys.stderr)
        return 2
    interpreter.interpret()
    from kernels.imports import load_imports
    from studies.liger.page import problems, table, write_page
    from studies.liger.study import ADAPTERS, results

    load_imports([ADAPTERS])
    gpu = find_gpu(options.gpu)
    found = results(gpu, options.jobs)
    print("\n".join([*table(found), *problems(found)]))
    if options.write:
        print(f"written: {write_page(found, gpu)}")
    return 0 if all(result.passed for result in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
