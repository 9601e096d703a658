"""Markdown from texts: code, cells and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def code(text: str) -> str:
    """The text in code font."""
    return f"`{text}`"


def cell(text: str) -> str:
    """The text on one line, with what would end the cell or begin a tag escaped; code between backticks shows `<` as it is."""
    plain_and_code = " ".join(text.split()).replace("|", "\\|").split("`")
    return "`".join(part.replace("<", "&lt;") if i % 2 == 0 else part for i, part in enumerate(plain_and_code))


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return [f"| {' | '.join(map(cell, row))} |" for row in lines]


def page(title: str, blocks: Iterable[Sequence[str]]) -> str:
    """A page of blocks of lines, an empty line between two of them."""
    return "\n\n".join([f"# {title}", *("\n".join(block) for block in blocks)]) + "\n"
