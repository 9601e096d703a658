"""Runs of the suite in processes of their own, and what a comparison says of two of them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from kernels.guard import ROOT
from reports.compare.comparison import JUDGED, compare
from reports.environment import load_environment
from reports.report import load_report
from tests.aa.plant import VARIABLE, Plant

TIMES = (10, 13)  # a planted implementation does its work so often a call, in the run before and the run after
SLOWDOWN = TIMES[1] / TIMES[0]


class RunFailed(Exception):
    """A run did not come to its end; the message says where its output is."""


@dataclass(frozen=True)
class Trial:
    """What `compare` said of two runs. planted: points that are slower in truth; the others are the same code."""

    name: str
    verdicts: dict[str, int]
    shift: float | None  # B over A, median of the pairs that can be trusted
    called: list[str]  # points, and means of families, of the same code that were called slower or faster: false
    planted: int = 0  # of these that are pairs
    found: int = 0  # of them called slower
    planted_unclear: int = 0

    @property
    def pairs(self) -> int:
        return sum(self.verdicts.values())

    @property
    def missed(self) -> int:
        return self.planted - self.found - self.planted_unclear


def run(folder: Path, name: str, sweep: str, plant: Plant | None = None) -> Path:
    """One run of `pytest benches/ --benchmark-only` on the CPU; one that is there already and came to its end is kept."""
    run_dir = folder / name
    if ended(run_dir):
        return run_dir
    options = ["--benchmark-only", "--device", "cpu", "--no-inspect", "-q", "-p", "no:cacheprovider"]
    options += ["--sweep", sweep, "--run-dir", str(run_dir), *(["-p", "tests.aa.plant"] if plant else [])]
    environment = {**os.environ, **({VARIABLE: str(plant)} if plant else {})}
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "pytest", "benches/", *options]
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=output, stderr=output, check=False)
    if done.returncode not in (0, 1) or not ended(run_dir):
        raise RunFailed(f"run {name} ended with {done.returncode}; see {log}")
    return run_dir


def ended(run_dir: Path) -> bool:
    """Whether a run is there, whole."""
    found = load_environment(run_dir).fields if run_dir.is_dir() else {}
    return bool(found.get("finished_utc")) and not found.get("interrupted")


def same_code(a: Path, b: Path) -> Trial:
    """Two runs of the same code."""
    return judge(a, b, None)


def planted(folder: Path, sweep: str, plant: Plant) -> Trial:
    """Two runs that differ in how often one implementation does its work."""
    a, b = (run(folder, f"planted-{times}", sweep, replace(plant, times=times)) for times in TIMES)
    return judge(a, b, plant)


def judge(a: Path, b: Path, plant: Plant | None) -> Trial:
    """`compare`'s verdicts, beside what is true."""
    found = compare(load_report(a), load_report(b))
    pairs = found.pairs
    keys = zip(pairs["point"], pairs["op"], pairs["impl"], strict=True)
    hit = [plant is not None and plant.hits(*key) for key in keys]
    slowed, others = pairs[hit], pairs[[not h for h in hit]]
    called = others.loc[others["verdict"].isin(["slower", "faster"]), "point"].tolist()
    for family in found.families:
        if family.verdict in ("slower", "faster") and (plant is None or (family.op, family.impl) != (plant.op, plant.impl)):
            called.append(f"mean of {family.op} {family.impl} {family.precision}")
    return Trial(
        f"{a.name} → {b.name}",
        {verdict: int((pairs["verdict"] == verdict).sum()) for verdict in JUDGED},
        found.shift.median if found.shift else None,
        called,
        len(slowed),
        int((slowed["verdict"] == "slower").sum()),
        int((slowed["verdict"] == "unclear").sum()),
    )
