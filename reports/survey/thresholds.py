"""When a GPU of a survey is slow, out of configs/verdicts/survey/default.yaml or a file of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kernels.strict_yaml.nodes import read_text, read_yaml
from kernels.strict_yaml.problems import Problems, Spot
from kernels.strict_yaml.values import known_keys, missing, number
from reports.survey.families import FAMILIES
from reports.verdict.thresholds import FOLDER, LEAST, MOST, fractions_by_name

KEYS = {  # all but `families` must be given; what each holds, which the reference pages print
    "slower": "The least slowness that matters, as a fraction of the time: of all points, and of a family that `families` does not name.",
    "families": f"The same by family: {', '.join(FAMILIES)}. Default: none.",
    "accused": "How many healthy GPUs a survey of 1,024 or more may call slow, on average; a smaller one fewer, by the power 3/4.",
    "watched": "The same of `watch`; more than `accused`.",
}
DEFAULT = FOLDER / "survey" / "default.yaml"
LEAST_ACCUSED, MOST_ACCUSED = 1e-3, 100.0
LARGE, POWER = 1024, 0.75  # GPUs from which the number accused no longer grows, and how it does below


@dataclass(frozen=True)
class Thresholds:
    """`slower` and `families` are fractions of a time, `accused` and `watched` numbers of healthy GPUs in a survey."""

    slower: float
    families: Mapping[str, float]
    accused: float
    watched: float

    def of(self, family: str) -> float:
        """The least slowness that matters in a family, or in all points."""
        return self.families.get(family, self.slower)

    def accused_share(self, gpus: int) -> float:
        """The probability with which a healthy one of so many GPUs may be called slow: with few GPUs, none is found by a small one."""
        return self.accused * min(gpus / LARGE, 1.0) ** POWER / gpus

    def watched_share(self, gpus: int) -> float:
        """The same of `watch`."""
        return self.watched * min(gpus / LARGE, 1.0) ** POWER / gpus


def load_thresholds(path: Path = DEFAULT) -> Thresholds:
    """Returns the thresholds of a file. Raises SweepError with a line for every mistake."""
    problems = Problems()
    file = str(path)
    root = read_yaml(read_text(path, Spot(file, 1), "thresholds", problems), file, problems, "thresholds file of surveys")
    known_keys(root, KEYS, "a thresholds file of surveys", problems)
    limits = {"slower": (LEAST, MOST), "accused": (LEAST_ACCUSED, MOST_ACCUSED), "watched": (LEAST_ACCUSED, MOST_ACCUSED)}
    values = {key: number(root.items[key].value, key, problems, *limits[key]) for key in limits if key in root.items}
    for key in limits:
        if key not in root.items:
            missing(root.spot, key, (), problems)
    accused, watched = values.get("accused"), values.get("watched")
    if accused is not None and watched is not None and watched <= accused:
        problems.add(root.items["watched"].value.spot, "watched", f"{watched:g} must be larger than accused, {accused:g}")
    families = fractions_by_name(root, "families", "family", "families", FAMILIES, problems)
    problems.check()
    return Thresholds(values["slower"] or 0.0, families, accused or 0.0, watched or 0.0)
