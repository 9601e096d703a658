"""What an answer is made of: steps in groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.units import compact


@dataclass(frozen=True)
class Step:
    """One line: what, how it was computed, and what came out, in SI units."""

    what: str
    how: str
    value: float
    unit: str = ""

    @property
    def text(self) -> str:
        return f"{compact(self.value)} {self.unit}".strip()


@dataclass(frozen=True)
class Group:
    title: str
    steps: Sequence[Step]
