"""Atomic file writes: the files that -o, --out, --json and similar options name are written here."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

MAX_LINKS = 40  # as Linux follows (path_resolution(7))
DESCRIPTOR = re.compile(r"/dev/std(out|err)|(?:/dev|/proc/self)/fd/(\d+)")


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write` with the name of a temporary file, which then replaces `path` in one step. Raises OSError, and whatever `write`
    raises; `path` is then unchanged and no temporary file is left.

    A symbolic link is kept, and the file that it points to is replaced. Devices, FIFOs and descriptors of this process (/dev/stdout,
    /proc/self/fd/3) are written to directly, never replaced.
    """
    if straight_through(path):
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder, path.name or "out")
            write(temporary)
            with temporary.open("rb") as source, _opened(path) as target:
                shutil.copyfileobj(source, target)
        return
    target_path = Path(os.path.realpath(path))
    temporary = target_path.with_name(f".{target_path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        if target_path.exists():
            shutil.copymode(target_path, temporary)
        _to_disk(temporary)
        os.replace(temporary, target_path)
        _to_disk(target_path.parent)  # the new name itself
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes text as UTF-8, with its line ends unchanged, as `write_file` does."""
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""))


def not_written(path: Path, error: OSError) -> str:
    """Returns a line with the reason why a file could not be written, and what to do."""
    return f"{path}: cannot be written ({error.strerror or error}): name another place with -o"


def straight_through(path: Path) -> bool:
    """Returns whether `path` names a device, a FIFO or an open descriptor, which must not be replaced by a file."""
    return descriptor(path) is not None or (path.exists() and not path.is_file() and not path.is_dir())


def descriptor(path: Path) -> int | None:
    """Returns the descriptor of this process that `path` names, itself or through symbolic links; else None."""
    for _ in range(MAX_LINKS):
        if own := DESCRIPTOR.fullmatch(str(path)):
            return {"out": 1, "err": 2}[own[1]] if own[1] else int(own[2])
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None


def _opened(path: Path) -> IO[bytes]:
    """Opens for writing. A descriptor of this process is duplicated: it keeps its position, so that later output follows."""
    number = descriptor(path)
    if number is None:
        return path.open("wb")
    sys.stdout.flush()
    return os.fdopen(os.dup(number), "wb")


def _to_disk(path: Path) -> None:
    """Brings a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
