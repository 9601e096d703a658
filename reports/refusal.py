"""What a command cannot do: one line on stderr and exit code 2, which reports/__main__.py prints and returns for every command."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kernels.writing import not_written


class RunError(Exception):
    """A command cannot do what it was asked for; the message is one line that names the place."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around code that writes `path`: raises RunError, which names the file and what to do, where the system refuses it."""
    try:
        yield
    except OSError as error:
        raise RunError(not_written(path, error)) from error


def check_folder(path: Path | None) -> None:
    """Raises RunError where the folder of a file to be written does not exist: before the work, not after it."""
    if path is not None and not os.path.isdir(path.parent):
        raise RunError(f"{path.parent}: no such directory")


def attempt(what: str, write: Callable[[], Path]) -> Path | None:
    """Returns the path that was written; None, after an error on stderr, where it could not be, so that the caller's other files are
    written all the same. what: the name that the error gives it."""
    try:
        return write()
    except OSError as error:
        print(f"error: {what} was not written: {error.strerror or error}", file=sys.stderr)
    except Exception:  # ours, or a damaged history: the verdict stands all the same
        print(f"error: {what} was not written:", file=sys.stderr)
        traceback.print_exc()
    return None
