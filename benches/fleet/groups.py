"""Which GPUs of a fleet are alike, so that they may share the points of one run. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from benches.shards.merge import unlike

K = TypeVar("K")


def groups(environments: Mapping[K, Mapping[str, Any]]) -> list[list[K]]:
    """Returns GPUs by what they are alike in, the largest group first; of equal ones that which holds the first GPU."""
    found: list[list[K]] = []
    for key, about in environments.items():
        group = next((group for group in found if not unlike(environments[group[0]], about)), None)
        if group is None:
            found.append([key])
        else:
            group.append(key)
    return sorted(found, key=lambda group: -len(group))
