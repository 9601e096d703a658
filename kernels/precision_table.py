"""The number formats as a table, every cell computed from the format's bits. The terminal and the report's page show the same one."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table

from kernels.console import open_console
from kernels.precisions import PRECISIONS, Precision

TINY, HUGE = 1e-8, 1e5  # a small gradient, and a number beyond fp16


@dataclass(frozen=True)
class Column:
    """`cell` gives the text of one format; `doc` says what it is."""

    title: str
    doc: str
    cell: Callable[[Precision], str]


def number(value: float) -> str:
    """Five significant digits, which no format here but fp32 exceeds."""
    return "inf" if math.isinf(value) else f"{value:.5g}"


def overflow(p: Precision) -> str:
    """In words."""
    return "±inf" if math.isinf(p.overflow) else f"stays at ±{number(p.max)}"


COLUMNS = (
    Column("Format", "as a sweep names it", lambda p: p.name),
    Column("Bytes", "of an element in memory", lambda p: str(p.bytes)),
    Column("Exponent", "bits: they set the range", lambda p: str(p.exponent_bits)),
    Column("Mantissa", "bits: they set the spacing", lambda p: str(p.mantissa_bits)),
    Column("Largest", "finite number", lambda p: number(p.max)),
    Column("Smallest normal", "below it the spacing no longer shrinks", lambda p: number(p.smallest_normal)),
    Column("Smallest subnormal", "half of it and less becomes 0", lambda p: number(p.smallest_subnormal)),
    Column("Spacing at 1.0", "distance to the next larger number", lambda p: number(p.spacing)),
    Column("Overflow", "what a cast makes of a number too large", overflow),
    Column("1e-8 becomes", "what a cast keeps of a small gradient", lambda p: number(p.rounded(TINY))),
    Column("1e5 becomes", "and of a number beyond fp16", lambda p: number(p.rounded(HUGE))),
)


def rows() -> list[list[str]]:
    """One row a format, in the order of COLUMNS."""
    return [[column.cell(p) for column in COLUMNS] for p in PRECISIONS.values()]


def show() -> None:
    """Prints the table."""
    table = Table(pad_edge=False)
    for i, column in enumerate(COLUMNS):
        table.add_column(column.title, justify="right" if i else "left", overflow="fold")
    for row in rows():
        table.add_row(*row)
    open_console(width=None if sys.stdout.isatty() else 160).print(table)
