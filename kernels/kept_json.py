"""Entries in Triton's cache folder that save work and may be lost: JSON, one file each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from kernels.writing import write_text

T = TypeVar("T")


def load(path: Path, parse: Callable[[Any], T]) -> T | None:
    """An entry as `parse` reads it; None where there is none, or none that can be read, such as one that was cut off."""
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def store(path: Path, entry: Any) -> None:
    """Writes an entry. A folder that cannot be written costs time at the next run and nothing else."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(entry))
    except OSError:
        return
