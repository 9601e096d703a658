"""What change matters, out of configs/verdicts/*.yaml or a file of the user's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from kernels.guard import ROOT
from kernels.registry import OPS
from kernels.strict_yaml.nodes import Map, describe, read_text, read_yaml
from kernels.strict_yaml.problems import Problems, Spot, valid_names
from kernels.strict_yaml.values import integer, known_keys, missing, number

FOLDER = ROOT / "configs" / "verdicts"
KEYS = {  # all must be given; what each holds, which the reference pages print
    "default": "The least relative change of a time that matters, for an op that `thresholds` does not name.",
    "thresholds": "The same by op.",
    "node": "The same of a whole GPU at once.",
    "night_starts_utc": "The hour at which a new night begins, 0 to 23.",
}
LEAST, MOST = 0.001, 1.0


@dataclass(frozen=True)
class Thresholds:
    """Fractions of a time. `night_starts_utc`: the hour at which a new night begins."""

    default: float
    by_op: Mapping[str, float]
    node: float
    night_starts_utc: int

    def of(self, op: str) -> float:
        return self.by_op.get(op, self.default)


def load_thresholds(path: Path = FOLDER / "default.yaml") -> Thresholds:
    """Raises SweepError with a line for every mistake."""
    problems = Problems()
    file = str(path)
    root = read_yaml(read_text(path, Spot(file, 1), "verdicts", problems), file, problems, "verdicts file")
    known_keys(root, KEYS, "a verdicts file", problems)
    values = {key: number(item.value, key, problems, LEAST, MOST) for key, item in root.items.items() if key in ("default", "node")}
    start = root.items.get("night_starts_utc")
    hour = integer(start.value, "night_starts_utc", problems, 0, 23) if start else None
    by_op = fractions_by_name(root, "thresholds", "op", "ops", OPS, problems)
    for key in KEYS:
        if key not in root.items:
            missing(root.spot, key, (), problems)
    problems.check()
    return Thresholds(values["default"] or 0.0, by_op, values["node"] or 0.0, hour or 0)


def fractions_by_name(root: Map, key: str, one: str, several: str, valid: Collection[str], problems: Problems) -> dict[str, float]:
    """Returns the fractions of a time that the mapping `key` of a thresholds file gives by name; empty where the file has no such key.

    one, several: the words for what has the names, such as `op` and `ops`. valid: the names that there are. Adds every mistake to
    `problems`.
    """
    item = root.items.get(key)
    if item is None:
        return {}
    if not isinstance(item.value, Map):
        problems.add(item.value.spot, key, f"needs a mapping of {several}, not {describe(item.value)}")
        return {}
    found = {}
    for name, given in item.value.items.items():
        if name not in valid:
            problems.add(given.spot, f"{key}.{name}", f"unknown {one}{valid_names(name, valid)}")
        elif (value := number(given.value, f"{key}.{name}", problems, LEAST, MOST)) is not None:
            found[name] = value
    return found
