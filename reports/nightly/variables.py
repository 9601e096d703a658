"""Environment variables of two runs set beside each other. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator

UNSET = "not set"


def variable_changes(before: str | None, after: str | None) -> Iterator[str]:
    """`CUDA_LAUNCH_BLOCKING: not set → 1`, in the order of names. before, after: as the history keeps them, a JSON object; None, of a run
    that did not record them, matches anything."""
    if before is None or after is None:
        return
    old, new = json.loads(before), json.loads(after)
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield f"{name}: {old.get(name, UNSET)} → {new.get(name, UNSET)}"
