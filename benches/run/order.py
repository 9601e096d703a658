"""The order of a sweep: random, so that a slow drift of the machine does not fall on one end of an axis."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

DEFAULT_SEED = 20260101


def shuffled(ids: Sequence[str], seed: int) -> list[str]:
    """The ids by a hash of the seed and the id.

    A point's place does not depend on the others' order, on how many they are or on Python's version: a sweep with one point more
    keeps its order, and so does a run that is resumed.
    """
    return sorted(ids, key=lambda name: (sha256(f"{seed}\0{name}".encode()).digest(), name))
