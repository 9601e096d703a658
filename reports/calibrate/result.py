"""What a fit found, and what a file of constants says of it."""

from __future__ import annotations

from dataclasses import dataclass

from reports.calibrate.fit import Identified
from reports.calibrate.quality import Quality


@dataclass(frozen=True)
class Fitted:
    """One problem's outcome. `quality` begins with all of its rows."""

    name: str
    found: Identified
    rows: int
    quality: tuple[Quality, ...]


def provenance(fitted: Fitted, source: str) -> dict[str, str]:
    """`fitted_on` and `error` of a fit in configs/."""
    held = [refusal.name for refusal in fitted.found.refused]
    kept = f"; kept from before: {', '.join(held)}" if held else ""
    return {"fitted_on": f"{source}: {fitted.rows} rows{kept}", "error": error_text(fitted.quality[0])}


def error_text(q: Quality) -> str:
    """In words."""
    how = "of held-out rows" if q.held_out else "of the fitted rows; too few to hold some out"
    return f"{q.mape:.1%} {how}, geometric mean of predicted over measured {q.ratio:.2f}"
