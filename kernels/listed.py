"""Lists in a line of text that name the first few and count the rest. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def and_more(left: int) -> str:
    """Returns " and 1,234 more", to follow what is named; empty where nothing is left."""
    return f" and {left:,} more" if left > 0 else ""


def first_of(names: Sequence[str], most: int, separator: str = ", ") -> str:
    """The first names, at most `most` of them, and the number of those left."""
    return separator.join(names[:most]) + and_more(len(names) - most)
