"""The parts of an answer: steps in groups, and results by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.napkin.asked import Question
from reports.napkin.sensitivity import Sensitivity
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


@dataclass(frozen=True)
class Answer:
    """`headline` answers what was asked, `beneath` what stands right below it; `remarks` are what else a reader must know. `results`:
    figures by name, in SI units but for days and hours, the headline's first. `sensitivity`: what 10% of each assumption changes."""

    question: Question
    asked: str
    headline: str
    groups: Sequence[Group]
    remarks: Sequence[str]
    results: Mapping[str, float]
    beneath: Sequence[str] = ()
    sensitivity: Sequence[Sensitivity] = ()
