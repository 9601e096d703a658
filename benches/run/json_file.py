"""JSON that somebody else may have written: bounded in size and depth, and without what JSON does not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic_core import from_json

MAX_BYTES = 16_000_000  # an environment is about 3 kB, an inspection of every kernel about 1 MB


def read_json(path: Path) -> Any:
    """The file's value. Raises OSError, or ValueError with one line for everything that is wrong inside it.

    pydantic's parser rather than Python's: it refuses NaN, Infinity and lone surrogates (which no page could be written with), and it
    answers deep nesting with an error where Python's overflows the stack.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    return from_json(data, allow_inf_nan=False)
