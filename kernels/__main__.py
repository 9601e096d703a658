"""`python -m kernels inspect` compiles the Triton kernels for a GPU without one and reads the machine code; `python -m kernels
precisions` shows the number formats."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from kernels import interpreter
from kernels.escaping import one_line
from kernels.guard import check_imports, missing_package_in_a_line
from kernels.printing import print_safely


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, exit code 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def make_parser() -> tuple[Parser, Parser]:
    """Every command and its options, and the parser of `inspect` alone, which reports what its checks find."""
    from kernels.gpus import DEFAULT_GPU, gpu_help
    from kernels.imports import add_option

    parser = Parser(prog="python -m kernels", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    inspect = commands.add_parser("inspect", help="compile for a GPU without one; exit 0 all pass, 1 a failure, 2 bad usage")
    inspect.add_argument("--gpu", default=DEFAULT_GPU, metavar="NAME|PATH", help=gpu_help())
    inspect.add_argument("--op", help="this op only")
    inspect.add_argument(
        "--only",
        action="append",
        metavar="OP:PRECISION:CONFIG",
        help="these kernels only, an imported one as OP:PRECISION:IMPL; repeatable",
    )
    inspect.add_argument("--dims", metavar="m=4096,n=4096", help="shape of --op at which imported implementations are launched")
    inspect.add_argument("--json", type=Path, metavar="FILE", help="write the findings here as well")
    inspect.add_argument("--against", metavar="REF", help="compare with the kernels of another commit; exit 1 where one became worse")
    inspect.add_argument("--markdown", type=Path, metavar="FILE", help="with --against: write the comparison here as Markdown")
    inspect.add_argument("--jobs", type=int, default=2, metavar="N", help="processes that compile (default 2)")
    add_option(inspect)
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
    from kernels.imports import ImportProblem, load_imports, specs
    from kernels.registry import OPS

    arguments.gpu_given = str(Path(arguments.gpu).resolve()) if os.path.exists(arguments.gpu) else arguments.gpu
    try:
        arguments.gpu = find_gpu(arguments.gpu)
    except GpuError as error:
        parser.error(f"--gpu: {error}")
    try:
        load_imports(specs(arguments.imports))
    except ImportProblem as problem:
        parser.exit(2, f"{one_line(str(problem))}\n")
    if arguments.op is not None and arguments.op not in OPS:
        near = get_close_matches(arguments.op, OPS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}? " if near else ""
        parser.error(f"--op: unknown op {arguments.op!r} ({hint}known: {', '.join(OPS)})")
    if arguments.dims is not None:
        if arguments.op is None:
            parser.error("--dims: give --op as well: the dims are those of one op")
        try:
            arguments.dims = parse_dims(arguments.dims)
        except ValueError as error:
            parser.error(f"--dims: {error}")
    if arguments.markdown and not arguments.against:
        parser.error("--markdown: only a comparison is written as Markdown: give --against REF")
    if arguments.jobs < 1:
        parser.error(f"--jobs: {arguments.jobs} processes cannot compile; at least 1")
    if arguments.json:
        folder = arguments.json.resolve().parent
        if os.path.isdir(arguments.json) or not os.path.isdir(folder):
            parser.error(f"--json: {arguments.json} is a directory, or its directory does not exist")
        if not os.access(arguments.json if os.path.exists(arguments.json) else folder, os.W_OK):
            parser.error(f"--json: {arguments.json} may not be written")
    arguments.ops = [op for name, op in OPS.items() if arguments.op in (None, name)]


def parse_dims(text: str) -> dict[str, int]:
    """Sizes by name, from "m=4096,n=4096". Raises ValueError."""
    dims: dict[str, int] = {}
    for part in text.split(","):
        name, equals, size = (piece.strip() for piece in part.partition("="))
        if not (name and equals and size.isascii() and size.isdigit() and int(size)):
            raise ValueError(f"{part.strip()!r} is not a size: write m=4096,n=4096")
        if name in dims:
            raise ValueError(f"{name} is given twice")
        dims[name] = int(size)
    return dims


def main(argv: list[str]) -> int:
    check_imports()
    with missing_package_in_a_line():  # a command imports some packages only when it runs
        return _run(argv)


def _run(argv: list[str]) -> int:
    arguments = parse(argv)
    if arguments.command == "precisions":
        from kernels.precision_table import show

        show()
        return 0
    if interpreter.compile_kernels():  # triton may be imported by now
        os.execv(sys.executable, [sys.executable, "-m", "kernels", *argv])
    from kernels.inspect import run

    code, records = run(arguments.ops, arguments.gpu, arguments.jobs, arguments.json, arguments.only, arguments.dims)
    return compare(arguments, records) if arguments.against else code


def compare(arguments: argparse.Namespace, after: Sequence[dict[str, Any]]) -> int:
    """Prints what became of the other commit's kernels. 1: something became worse; 2: that commit cannot be compiled."""
    from kernels.console import open_console
    from kernels.inspect_against import RefError, as_markdown, changes, records_at, show
    from kernels.writing import not_written, write_text

    asked = ["--gpu", arguments.gpu_given, "--jobs", str(arguments.jobs)]
    asked += ["--op", arguments.op] if arguments.op else []
    asked += [part for one in arguments.only or () for part in ("--only", one)]
    try:
        before = records_at(arguments.against, asked)
    except RefError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    found = changes(before, after)
    compared = len({one["id"] for one in before} & {one["id"] for one in after})
    if arguments.markdown:
        try:
            write_text(arguments.markdown, as_markdown(arguments.against, found, compared))
        except OSError as error:
            print(f"error: {not_written(arguments.markdown, error)}", file=sys.stderr)
            return 2
    show(arguments.against, found, compared, open_console())
    return 1 if any(change.worse for change in found) else 0


if __name__ == "__main__":
    print_safely()
    sys.exit(main(sys.argv[1:]))
