"""What a rule says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "warning", "blocks"]
LEVELS: tuple[Level, ...] = ("ok", "note", "warning", "blocks")


@dataclass(frozen=True)
class Finding:
    """ok: as it should be. note: good to know. warning: a figure would be spoilt, or say less. blocks: cannot be measured.

    `key` names the rule and stays the same; `do` is what to do about it, a command wherever there is one.
    """

    level: Level
    key: str
    where: str
    text: str
    do: str = ""


def gigabytes(count: float) -> str:
    return f"{count / 1e9:.3g} GB"


def megahertz(hertz: float) -> str:
    return f"{hertz / 1e6:.0f} MHz"
