"""`python -m kernels inspect` compiles the Triton kernels for a GPU without one and reads the machine code; `python -m kernels
precisions` shows the number formats."""

from __future__ import annotations

import argparse
import os
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from kernels import interpreter
from kernels.guard import check_imports
from kernels.printing import print_safely


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, exit code 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def make_parser() -> tuple[Parser, Parser]:
    """Every command and its options, and the parser of `inspect` alone, which reports what its checks find."""
    from kernels.gpus import DEFAULT_GPU, gpu_help

    parser = Parser(prog="python -m kernels", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    inspect = commands.add_parser("inspect", help="compile for a GPU without one; exit 0 all pass, 1 a failure, 2 bad usage")
    inspect.add_argument("--gpu", default=DEFAULT_GPU, metavar="NAME|PATH", help=gpu_help())
    inspect.add_argument("--op", help="this op only")
    inspect.add_argument("--only", action="append", metavar="OP:PRECISION:CONFIG", help="these kernels only; repeatable")
    inspect.add_argument("--json", type=Path, metavar="FILE", help="write the findings here as well")
    inspect.add_argument("--jobs", type=int, default=2, metavar="N", help="processes that compile (default 2)")
    commands.add_parser("precisions", help="bytes, bits, range and spacing of each number format")
    return parser, inspect


def parse(argv: list[str]) -> argparse.Namespace:
    parser, inspect = make_parser()
    arguments = parser.parse_args(argv)
    if arguments.command == "inspect":
        _check(inspect, arguments)
    return arguments


def _check(parser: Parser, arguments: argparse.Namespace) -> None:
    """Everything that can be wrong is found before anything compiles."""
    from kernels.gpus import GpuError, find_gpu
    from kernels.registry import OPS

    try:
        arguments.gpu = find_gpu(arguments.gpu)
    except GpuError as error:
        parser.error(f"--gpu: {error}")
    if arguments.op is not None and arguments.op not in OPS:
        near = get_close_matches(arguments.op, OPS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}? " if near else ""
        parser.error(f"--op: unknown op {arguments.op!r} ({hint}known: {', '.join(OPS)})")
    if arguments.jobs < 1:
        parser.error(f"--jobs: {arguments.jobs} processes cannot compile; at least 1")
    if arguments.json:
        folder = arguments.json.resolve().parent
        if os.path.isdir(arguments.json) or not os.path.isdir(folder):
            parser.error(f"--json: {arguments.json} is a directory or lies in none")
        if not os.access(arguments.json if os.path.exists(arguments.json) else folder, os.W_OK):
            parser.error(f"--json: {arguments.json} may not be written")
    arguments.ops = [op for name, op in OPS.items() if arguments.op in (None, name)]


def main(argv: list[str]) -> int:
    check_imports()
    arguments = parse(argv)
    if arguments.command == "precisions":
        from kernels.precision_table import show

        show()
        return 0
    if interpreter.compile_kernels():  # triton may be imported by now
        os.execv(sys.executable, [sys.executable, "-m", "kernels", *argv])
    from kernels.inspect import run

    return run(arguments.ops, arguments.gpu, arguments.jobs, arguments.json, arguments.only)


if __name__ == "__main__":
    print_safely()
    sys.exit(main(sys.argv[1:]))
