"""The number formats as a table, every cell computed from the format's bits, and what follows for training. The terminal and the report's
page show the same table."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table

from kernels.console import open_console
from kernels.precisions import PRECISIONS, Precision
from kernels.training.recipe import LOSS_SCALE

TINY, HUGE = 1e-8, 1e5  # a small gradient, and a number beyond fp16
UPDATE = 1e-3  # of a weight near 1: more than the formats with the coarsest spacing can add to it


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
    Column("Overflow", "result of casting a number that is too large", overflow),
    Column("1e-8 becomes", "result of casting a small gradient", lambda p: number(p.rounded(TINY))),
    Column("1e5 becomes", "and of a number beyond fp16", lambda p: number(p.rounded(HUGE))),
)


def rows() -> list[list[str]]:
    """One row a format, in the order of COLUMNS."""
    return [[column.cell(p) for column in COLUMNS] for p in PRECISIONS.values()]


def relative_error(p: Precision, value: float) -> float:
    """How far the stored number is from `value`, as a share of it: 1 where it becomes 0."""
    return abs(p.rounded(value) - value) / value


def conclusions() -> list[tuple[str, str]]:
    """Why deep learning tolerates bf16's resolution and not fp16's range: headings and paragraphs, each figure computed."""
    bf16, fp16 = PRECISIONS["bf16"], PRECISIONS["fp16"]
    scaled = LOSS_SCALE * TINY
    return [
        (
            "Resolution",
            f"A bf16 number is off by at most {bf16.unit_roundoff:.2g} of its value, an fp16 number by {fp16.unit_roundoff:.2g}. A "
            "gradient is estimated from a random batch, and another batch changes it by more than that; products are summed in fp32. So "
            "the coarser rounding is a small additional error, and training continues.",
        ),
        (
            "Range",
            f"A gradient of {TINY:.0e} is stored as {number(bf16.rounded(TINY))} in bf16, off by {relative_error(bf16, TINY):.2g} of its "
            f"value, and as {number(fp16.rounded(TINY))} in fp16, off by {relative_error(fp16, TINY):.2g}: the parameter gets no update. "
            f"At the other end {HUGE:.0e} is {number(bf16.rounded(HUGE))} in bf16 and {number(fp16.rounded(HUGE))} in fp16, and one "
            "infinity ruins the gradients of the whole batch.",
        ),
        (
            "Therefore",
            f"bf16 trains with the loss as it is. fp16 needs loss scaling: times {LOSS_SCALE:.0f}, the same gradient is "
            f"{number(fp16.rounded(scaled))}, off by {relative_error(fp16, scaled):.2g}. Both keep the weights in fp32: "
            f"1 + {UPDATE:g} is {number(bf16.rounded(1 + UPDATE))} in bf16, so that small updates would be lost.",
        ),
    ]


def show() -> None:
    """Prints the table, and what follows from it."""
    table = Table(pad_edge=False)
    for i, column in enumerate(COLUMNS):
        table.add_column(column.title, justify="right" if i else "left", overflow="fold")
    for row in rows():
        table.add_row(*row)
    console = open_console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    for heading, paragraph in conclusions():
        console.print(f"{heading}. {paragraph}", markup=False, highlight=False)
