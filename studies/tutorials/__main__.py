"""Compiles the matmul kernels of Triton's tutorials 03 and 09 and this suite's for a GPU, and prints their machine code side by side.

    python -m studies.tutorials CHECKOUT [--gpu NAME] [--jobs N]

CHECKOUT is a checkout of Triton's repository at the version that is installed. Nothing of it is copied into this repository. Exit 0, or 2
where nothing of the tutorials could be recorded.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from kernels import interpreter
from kernels.gpus import DEFAULT_GPU, GpuError, find_gpu, gpu_help


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m studies.tutorials", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("checkout", type=Path, metavar="CHECKOUT", help="of Triton's repository")
    parser.add_argument("--gpu", default=DEFAULT_GPU, metavar="NAME|PATH", help=gpu_help())
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes that compile (default 2)")
    options = parser.parse_args(arguments)
    interpreter.compile_kernels()
    from kernels.console import open_console
    from kernels.inspect_report import table
    from studies.tutorials.study import results

    try:
        gpu = find_gpu(options.gpu)
    except GpuError as error:
        parser.exit(2, f"error: --gpu: {error}\n")
    with tempfile.TemporaryDirectory() as folder:
        records, failures = results(options.checkout, Path(folder), gpu, options.jobs)
    open_console(width=None if sys.stdout.isatty() else 190).print(table(records, gpu, True))
    for line in failures:
        print(f"error: {line}", file=sys.stderr)
    if not any(record["impl"].startswith("tutorial") for record in records):
        print("error: no kernel of the tutorials was recorded: give a checkout of the version that is installed", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
