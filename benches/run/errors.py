"""Whole messages of errors, one file a point: errors/<point>.txt in the run directory. A row has a line of each."""

from __future__ import annotations

import hashlib
import re
import traceback
from pathlib import Path

from kernels.op import Point

FOLDER = "errors"
MAX_NAME = 150  # characters of a point's id: file systems take 255 bytes, with the digest and the suffix


def file_name(point_id: str) -> str:
    """A point's id as a file name: readable, and of its own where characters had to be replaced or left out."""
    plain = re.sub(r"[^A-Za-z0-9._+-]", "_", point_id)[:MAX_NAME]
    return f"{plain}.txt" if plain == point_id else f"{plain}-{hashlib.sha256(point_id.encode()).hexdigest()[:8]}.txt"


def keep_error(run_dir: Path, point: Point, error: BaseException) -> str | None:
    """Writes the traceback with the whole message; the file's name below the run directory."""
    return keep_text(run_dir, point, "".join(traceback.format_exception(error)))


def keep_text(run_dir: Path, point: Point, text: str) -> str | None:
    """The file's name below the run directory, or None where it cannot be written: the row has a line of it."""
    path = run_dir / FOLDER / file_name(point.id)
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError:
        return None
    return str(path.relative_to(run_dir))
