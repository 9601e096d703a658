"""The rows of a few kernels as a table, each beside the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table

from benches.row import Row
from benches.units import time_text
from kernels.cost_model import MFU_PEAK_FLOPS_PER_S
from kernels.registry import baseline_of

MISSING = "-"
HEADINGS = ("kernel", "status", "time", "speed-up", "FLOP/s", "B/s", "MFU", "err/tol")


def show_table(rows: Sequence[Row], environment: Mapping[str, Any], console: Console) -> None:
    """Prints a table for each case: rows of one op, precision and shape follow one another."""
    cases: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        sizes = ", ".join([f"{name}={size}" for name, size in row.dims.items()] + list(row.options.values()))
        cases.setdefault((row.op, f"{row.op} {row.precision}, {sizes}"), []).append(row)
    for (op, title), found in cases.items():
        reference = next((row for row in found if row.impl == baseline_of(op)), None)
        shown = [cells(row, reference, on_gpu=environment.get("device_kind") == "cuda") for row in found]
        table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
        for place, heading in enumerate(HEADINGS):
            longest = max(len(word) for text in (heading, *(one[place] for one in shown)) for word in text.split())
            left, folds = heading in ("kernel", "status"), heading in ("kernel", "time", "speed-up")
            least = None if heading == "kernel" else longest  # a number is not folded inside, a long name is
            table.add_column(heading, justify="left" if left else "right", overflow="fold", no_wrap=not folds, min_width=least)
        for one in shown:
            table.add_row(*one)
        console.print(table)
        for reason, same in groupby(sorted(found, key=lambda row: row.reason or ""), key=lambda row: row.reason):
            if reason:
                console.print(f"{', '.join(row.impl for row in same)}: {reason}", markup=False)


def cells(row: Row, reference: Row | None, on_gpu: bool) -> list[str]:
    """A row as text. The MFU is against an H100's convention, so that it is shown for a GPU only."""
    median = row.median_s
    counted = bool(row.flops) and median is not None
    flops_per_s = row.flops / median if counted and median else None
    time = MISSING
    if median is not None:
        half = ((row.ci_high_s or median) - (row.ci_low_s or median)) / 2
        time = f"{time_text(median)}\n±{spread(half / median)}"
    return [
        row.impl,
        row.status,
        time,
        speed_up(row, reference),
        MISSING if flops_per_s is None else rate(flops_per_s),
        MISSING if median is None else rate((row.bytes_read + row.bytes_written) / median),
        f"{100 * flops_per_s / MFU_PEAK_FLOPS_PER_S:.1f}%" if flops_per_s is not None and on_gpu else MISSING,
        MISSING if row.error_over_tolerance is None else f"{row.error_over_tolerance:.2g}",
    ]


def speed_up(row: Row, reference: Row | None) -> str:
    """The reference's time over the row's own, and the widest interval that the intervals of both times leave."""
    times = [(r.median_s, r.ci_low_s, r.ci_high_s) for r in (row, reference) if r is not None]
    if len(times) < 2 or any(value is None or value <= 0 for three in times for value in three):
        return MISSING
    (own, own_low, own_high), (other, other_low, other_high) = times
    return f"{other / own:.3g}x\n{other_low / own_high:.2g} to {other_high / own_low:.2g}"  # type: ignore[operator]


def spread(half: float) -> str:
    """Half of an interval, relative: beyond the value itself its digits mean nothing."""
    return f"{half:.1%}" if half < 1 else "over 100%"


def rate(value: float) -> str:
    """A rate with three digits and an SI prefix."""
    for prefix, factor in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}"
    return f"{value:.3g}"
