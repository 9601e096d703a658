"""`python -m benches merge RUN… -o DIR`: parts of one sweep become one run directory, or nothing is written."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benches.run import environment
from benches.run.errors import FOLDER
from benches.run.journal import NAME
from benches.run.sentinels import NAME as SENTINELS
from benches.run.sentinels import file_name
from benches.shards.merge import Merged, MergeError, Part, journal_text, merge, read_part
from benches.shards.split import ShardError
from benches.sweep.load import SweepError, load_sweep
from kernels.escaping import one_line
from kernels.imports import ImportProblem, load_imports, specs
from kernels.imports import add_option as add_import_option
from kernels.writing import not_written, write_text


def add_command(commands: argparse._SubParsersAction) -> None:
    """Adds `merge` to the commands."""
    parser = commands.add_parser("merge", help="make the runs of a sweep's parts (--shard 1/4 … 4/4) into one run")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a run directory of one part")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="the run directory to write, which does not exist yet")
    add_import_option(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """0: complete; 1: written, with something missing, a line each; 2: refused, and nothing is written."""
    try:
        if given.out.exists():
            raise MergeError(f"{given.out} exists: name another directory with -o")
        refuse_twice(given.runs)
        load_imports(specs(given.imports))
        parts = [read_part(path) for path in given.runs]
        merged = merge(parts, load_sweep(parts[0].dir / "sweep.yaml"))
        write(given.out, parts, merged)
    except SweepError as e:
        return refuse(*e.problems)
    except (MergeError, ShardError, ImportProblem) as e:
        return refuse(f"error: {e}")
    except OSError as e:
        return refuse(f"error: {not_written(given.out, e)}")
    for line in merged.missing:
        print(one_line(f"missing: {line}"), file=sys.stderr)
    print(f"{counted(len(merged.rows), 'point')} of {counted(len(parts), 'run')} in {given.out}")
    return 1 if merged.missing else 0


def refuse_twice(runs: Sequence[Path]) -> None:
    """Raises MergeError for a directory that is listed twice, in place of another one perhaps."""
    folders = [path.resolve() for path in runs]
    for i, path in enumerate(runs):
        if folders[i] in folders[:i]:
            raise MergeError(f"{path} is listed twice: list each run once")


def counted(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def refuse(*lines: str) -> int:
    for line in lines:
        print(one_line(line), file=sys.stderr)
    return 2


def write(out: Path, parts: Sequence[Part], merged: Merged) -> None:
    """Writes the run directory beside its place and then moves it there, so that it is whole or absent. Raises OSError."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
        folder = Path(temporary, "run")
        folder.mkdir()
        write_text(folder / NAME, journal_text(merged.rows))
        write_text(folder / "sweep.yaml", parts[0].sweep)
        environment.write(folder, merged.environment)
        for number, part in enumerate(parts, 1):
            copy_beside(part.dir, folder, number)
        folder.rename(out)


def copy_beside(source: Path, folder: Path, number: int) -> None:
    """Copies a part's full error messages, and its sentinels under names of their own: those of two devices are never set side by side."""
    if (source / FOLDER).is_dir():
        shutil.copytree(source / FOLDER, folder / FOLDER, dirs_exist_ok=True)
    for path in (source / SENTINELS, *source.glob(file_name("*"))):
        if path.is_file():
            part = path.stem.partition("-")[2]
            shutil.copyfile(path, folder / file_name(f"part{number}-{part}" if part else f"part{number}"))
