"""Folders that cannot be written to, also by root, which may write wherever a mode forbids it.

Libraries in C++ write past Python: a temporary file of theirs cannot be renamed, and must be gone at the end.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_closed: list[str] = []


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook, which sees what Python opens and changes: https://docs.python.org/3/library/audit_events.html"""
    if not _closed or not (event == "open" or event in ("os.mkdir", "os.rename", "os.link", "os.symlink", "os.truncate")):
        return
    if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITES):
        return
    for path in arguments[:2]:
        if isinstance(path, str | os.PathLike) and os.path.abspath(path).startswith(tuple(_closed)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))


@contextmanager
def read_only(*folders: Path) -> Iterator[None]:
    """Within the block Python cannot write to the folders; after it the test fails if their contents changed."""
    if not getattr(read_only, "hooked", False):
        sys.addaudithook(_refuse)  # permanent: an audit hook cannot be removed
        read_only.hooked = True  # type: ignore[attr-defined]
    before = {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*")}
    _closed.extend(f"{folder.resolve()}{os.sep}" for folder in folders)
    try:
        yield
    finally:
        _closed.clear()
    assert {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*")} == before
