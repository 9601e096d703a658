"""Which format files are in, and the file for `--import` that brings files of other formats into every process."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from benches.kernel.flashinfer import read_flashinfer
from benches.kernel.kernelbench import imports_of, is_kernelbench, read_kernelbench
from benches.kernel.problem import FormatError, Problem
from kernels.registry import register

LOOKED_FOR = (
    "looked for ops and implementations registered through microbench_api, for KernelBench's Model and ModelNew, and in .json files for "
    "flashinfer-bench's definitions, solutions and workloads"
)


def is_own_format(paths: Sequence[Path]) -> bool:
    """Whether each file registers what it has by itself."""
    return all(path.suffix == ".py" and "microbench_api" in imports_of(path) for path in paths)


@cache
def read(paths: tuple[Path, ...], folder: Path) -> Problem:
    """The problem of files in another format, once in a process. folder: for sources that JSON holds. Raises FormatError."""
    if all(path.suffix in (".json", ".jsonl") for path in paths):
        return read_flashinfer(paths, folder)
    if all(path.suffix == ".py" for path in paths):
        if is_kernelbench(paths):
            return read_kernelbench(paths)
        raise FormatError(f"{paths[0]}: there is nothing to measure: {LOOKED_FOR}")
    raise FormatError(f"{paths[0]}: these files are of different formats, or neither .py nor .json: {LOOKED_FOR}")


def register_files(paths: Sequence[str], folder: str) -> None:
    """Registers the op of files. What `door` writes calls this."""
    register(read(tuple(map(Path, paths)), Path(folder)).op)


def door(paths: Sequence[Path], folder: Path) -> str:
    """The text of a file for --import that registers the op of these files; with their hashes, so that it changes when one does."""
    hashes = [f"# {hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in paths]
    call = f"register_files({[str(path) for path in paths]!r}, {str(folder)!r})"
    return "\n".join(["from benches.kernel.formats import register_files", "", *hashes, call, ""])
