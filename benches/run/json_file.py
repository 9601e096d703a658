"""JSON that somebody else may have written: bounded in size and depth, and without what JSON does not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

M = TypeVar("M", bound=BaseModel)

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


def read_versioned(path: Path, model: type[M], version: int, action: str) -> M:
    """Returns a file that has `schema_version` as a model. action: what is to be done with a newer file, in the version that wrote it.

    Raises OSError, and ValueError with one line that names the file where it is newer than `version`, or not what the model says.
    """
    try:
        found = read_json(path)
    except ValueError as e:
        raise ValueError(f"{path}: not JSON: {e}") from None
    newest = found.get("schema_version") if isinstance(found, dict) else None
    if isinstance(newest, int) and newest > version:
        raise ValueError(f"{path}: of version {newest}, which a newer version of this suite wrote: {action} it with that version")
    try:
        return model.model_validate(found)
    except ValidationError as e:
        first = e.errors(include_input=False, include_url=False)[0]
        raise ValueError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
