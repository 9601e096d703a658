"""A calibration at a terminal: errors by family and regime, then what the rows could not tell."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reports.calibrate.quality import WITHIN, Quality
from reports.calibrate.result import Fitted


def show(found: Sequence[Table | str], console: Console) -> None:
    """Prints tables and lines."""
    for one in found:
        console.print(one, highlight=False, soft_wrap=isinstance(one, str), markup=False)


def quality_table(title: str, qualities: Sequence[Quality]) -> Table:
    """MAPE of the measured time; ratio: geometric mean of predicted / measured; worst: that of the row furthest off."""
    table = Table(title=escape(title), box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("predicted", "regime"):
        table.add_column(heading, no_wrap=True)
    for heading in ("rows", "MAPE", "ratio", f"in {WITHIN:g}×", "worst"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("seen", no_wrap=True)
    for q in qualities:
        figures = (f"{q.rows:,}", f"{q.mape:.1%}", f"{q.ratio:.3f}", f"{q.within:.0%}", f"{q.worst:.2f}")
        table.add_row(q.name, q.regime, *figures, "held out" if q.held_out else "fitted")
    return table


def refusals(fits: Sequence[Fitted]) -> list[str]:
    """A line for each constant that was refused."""
    return [
        f"refused {fitted.name}: {refusal.name} stays {refusal.kept:.4g}: {refusal.why}"
        for fitted in fits
        for refusal in fitted.found.refused
    ]
