"""Files that are written whole or not at all, wherever a name points: every -o, --out, --json and the like goes through here."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

DESCRIPTOR = re.compile(r"/dev/std(out|err)|(?:/dev|/proc/self)/fd/(\d+)")


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` fill a file of the name that it is given, which then takes the place of `path`. Raises OSError; leaves nothing half
    done.

    A symbolic link stays one, and the file that it points to is replaced. What is no regular file (/dev/stdout, a FIFO, a file that a
    shell has opened for its command) is written straight through.
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
    """The same for text, UTF-8 with the line ends that it has."""
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""))


def straight_through(path: Path) -> bool:
    """Whether another file must not take the place of what the name stands for."""
    if str(path.absolute()).startswith(("/dev/", "/proc/")) or os.path.realpath(path).startswith(("/dev/", "/proc/")):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()


def _opened(path: Path) -> IO[bytes]:
    """For writing: a descriptor of this process by itself, so that what it prints next comes after."""
    own = DESCRIPTOR.fullmatch(str(path))
    if own is None:
        return path.open("ab")
    sys.stdout.flush()
    number = {"out": 1, "err": 2}.get(own[1], -1) if own[1] else int(own[2])
    return os.fdopen(os.dup(number), "wb")


def _to_disk(path: Path) -> None:
    """A file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
