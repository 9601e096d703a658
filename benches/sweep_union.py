"""Several sweeps in one run: `--sweep smoke --sweep my.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from benches.sweep import Sweep, SweepError, load_sweep


def load_sweeps(names: Sequence[str | Path]) -> Sweep:
    """The sweeps as one: points in order, equal ones once. Raises SweepError with the mistakes of all of them."""
    sweeps, problems = [], []
    for name in names:
        try:
            sweeps.append(load_sweep(name))
        except SweepError as e:
            problems += e.problems
    if problems:
        raise SweepError(problems)
    if len(sweeps) == 1:
        return sweeps[0]
    points = {point.id: point for sweep in reversed(sweeps) for point in reversed(sweep.points)}
    parts = [yaml.safe_load(sweep.resolved) for sweep in sweeps]
    resolved = {
        "name": "+".join(sweep.name for sweep in sweeps)[:64],
        "max_points": sum(part["max_points"] for part in parts),
        "sweeps": [entry for part in parts for entry in part["sweeps"]],
    }
    count = sum(len(sweep.points) for sweep in sweeps)
    duplicates = count - len(points) + sum(sweep.duplicates for sweep in sweeps)
    text = yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True)
    return Sweep(str(resolved["name"]), sweeps[0].path, tuple(reversed(points.values())), text, duplicates)
