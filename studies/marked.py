"""Puts what a study measured between two marks of a page of docs/."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def replace_between(page: Path, begin: str, end: str, lines: Iterable[str]) -> Path:
    """Replaces what stands between the marks `begin` and `end` by these lines, and returns the page. Raises ValueError, and changes
    nothing, where a mark is missing or is there twice."""
    before, rest = page.read_text(encoding="utf-8").split(begin)
    _, after = rest.split(end)
    page.write_text("\n".join([before + begin, *lines, end + after]), encoding="utf-8")
    return page
