"""In what two runs' environments differ. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benches.run.environment import LATER
from benches.run.variables import changing_times
from reports.environment import EXPECTED, UNKNOWN, flat

# Differ between any two runs, and say nothing about what was compared.
PASSING = (
    "started_utc",
    "finished_utc",
    "resumed_utc",
    "interrupted",
    "load_1m",
    "ceilings",
    "power_source",
    "notes",
    "narrowed_by",
    "board",
    "boards",
)
# What a reader asks about first.
FIRST = (
    "device_kind",
    "device_name",
    "gpu",
    "device_uuid",
    "driver",
    "versions torch",
    "versions triton",
    "commit",
    "dirty",
    "seed",
    "sweeps",
)
WORDS = {
    **{"dirty": "uncommitted changes", "versions torch": "torch", "versions triton": "triton"},
    **{"cuda_runtime": "CUDA runtime", "cudnn": "cuDNN", "vbios": "VBIOS", "l2_bytes": "bytes of L2", "tuned": "file of tuned choices"},
}
SHORT = 10  # characters of a commit
VARIABLES = "variables"
UNSET = "not set"


@dataclass(frozen=True)
class Field:
    """A field of environment.json in both runs; nested ones with their path: "versions torch"."""

    name: str
    a: str
    b: str
    counts: bool  # a difference here could part the runs

    @property
    def differs(self) -> bool:
        return self.a != self.b


def fields(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Field]:
    """Every field of either, the expected ones first."""
    flat_a, flat_b = dict(flat(dict(a))), dict(flat(dict(b)))
    order = {name: rank for rank, name in enumerate(EXPECTED)}
    names = sorted({*flat_a, *flat_b}, key=lambda name: (order.get(name.split()[0], len(order)), name))
    return [Field(name, flat_a.get(name, _absent(name, a)), flat_b.get(name, _absent(name, b)), _counts(name, a, b)) for name in names]


def _absent(name: str, environment: Mapping[str, Any]) -> str:
    """What a file that lacks the field says: of an environment variable that it was not set, where the file holds any."""
    return UNSET if name.startswith(f"{VARIABLES} ") and VARIABLES in environment else UNKNOWN


def _counts(name: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    whole, _, part = name.partition(" ")
    if whole in PASSING or (whole in LATER and not (whole in a and whole in b)):
        return False
    return whole != VARIABLES or bool(changing_times({part: ""}))


def differences(found: list[Field]) -> list[str]:
    """Those that count, in words, what a reader asks about first."""
    differ = [field for field in found if field.differs and field.counts]
    rank = {name: place for place, name in enumerate(FIRST)}
    differ.sort(key=lambda field: rank.get(field.name, len(rank)))
    return [
        f"{WORDS.get(field.name, field.name.removeprefix(f'{VARIABLES} '))} {_short(field.name, field.a)} → {_short(field.name, field.b)}"
        for field in differ
    ]


def _short(name: str, value: str) -> str:
    return value[:SHORT] if name == "commit" and value != UNKNOWN else value
