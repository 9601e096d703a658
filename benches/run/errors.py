"""Full error messages, one file for each point: errors/<point>.txt in the run directory. The row's `reason` is one line of it."""

from __future__ import annotations

import hashlib
import re
import traceback
from pathlib import Path

from kernels.op import Point

FOLDER = "errors"
MAX_NAME = 150  # characters of a point's id: file systems take 255 bytes, with the digest and the suffix


def file_name(point_id: str) -> str:
    """Returns a point's id as a file name: with a digest where characters had to be replaced or cut, so that no two ids share a name."""
    plain = re.sub(r"[^A-Za-z0-9._+-]", "_", point_id)[:MAX_NAME]
    return f"{plain}.txt" if plain == point_id else f"{plain}-{hashlib.sha256(point_id.encode()).hexdigest()[:8]}.txt"


def keep_error(run_dir: Path, point: Point, error: BaseException) -> str | None:
    """Writes the traceback with the full message. Returns the file's path relative to the run directory, or None as `keep_text` does."""
    return keep_text(run_dir, point, "".join(traceback.format_exception(error)))


def keep_text(run_dir: Path, point: Point, text: str) -> str | None:
    """Writes text to the point's file. Returns the file's path relative to the run directory, or None where it cannot be written."""
    path = run_dir / FOLDER / file_name(point.id)
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError:
        return None
    return str(path.relative_to(run_dir))
