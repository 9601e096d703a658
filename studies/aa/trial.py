"""Runs of the suite in processes of their own, and what `compare` and `nightly` say of them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kernels.guard import ROOT
from reports.compare.comparison import JUDGED, compare
from reports.environment import load_environment
from reports.nightly.night import judge_run
from reports.nightly.nights import EACH_RUN
from reports.report import load_report
from studies.aa.plant import VARIABLE, Plant

TIMES = (3, 4)  # the planted implementation does its work so often a call, in the runs before and the runs after
THREADS = 1  # of 2 cores: the other is left to the machine, and where a virtual machine puts two cores changes bandwidths by 1.7×
SLOWDOWN = TIMES[1] / TIMES[0]


class RunFailed(Exception):
    """A run did not come to its end; the message says where its output is."""


@dataclass(frozen=True)
class Trial:
    """What was said of runs whose truth is known, over some comparisons or nights."""

    name: str
    comparisons: int  # or nights
    verdicts: Counter[str]  # of pairs of points; of nights: `slower` and `faster` are confirmed, the rest is `same`
    called: list[str]  # points, and means of families, of the same code that were called slower or faster: false
    planted: int = 0  # points that are slower in truth
    found: int = 0  # of them called slower
    unclear: int = 0  # of them
    nightly: bool = False
    suspect: int = 0  # nights

    @property
    def pairs(self) -> int:
        return self.verdicts.total()

    @property
    def missed(self) -> int:
        return self.planted - self.found - self.unclear


def together(name: str, trials: Sequence[Trial]) -> Trial:
    """Their sum."""
    return Trial(
        name,
        sum(trial.comparisons for trial in trials),
        sum((trial.verdicts for trial in trials), Counter()),
        [called for trial in trials for called in trial.called],
        planted=sum(trial.planted for trial in trials),
        found=sum(trial.found for trial in trials),
        unclear=sum(trial.unclear for trial in trials),
        nightly=any(trial.nightly for trial in trials),
    )


def run(folder: Path, name: str, sweep: str, plant: Plant | None = None) -> Path:
    """One run of `pytest benches/ --benchmark-only` on the CPU; one that is there already and came to its end is kept. Raises RunFailed."""
    run_dir, record, asked = folder / name, folder / f"{name}.txt", f"sweep {sweep}, {plant or 'nothing'} planted, {THREADS} threads"
    if ended(run_dir):
        made = record.read_text(encoding="utf-8") if record.exists() else "nobody knows what"
        if made != asked:
            raise RunFailed(f"{run_dir} was made of {made}, not of {asked}: name another --folder")
        return run_dir
    record.write_text(asked, encoding="utf-8")
    options = ["--benchmark-only", "--device", "cpu", "--no-inspect", "-q", "-p", "no:cacheprovider"]
    options += ["--sweep", sweep, "-k", "not triton", "--run-dir", str(run_dir), *(["-p", "studies.aa.plant"] if plant else [])]
    environment = {**os.environ, **({VARIABLE: str(plant)} if plant else {}), "OMP_NUM_THREADS": str(THREADS)}
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


def judge(a: Sequence[Path], b: Sequence[Path], plant: Plant | None) -> Trial:
    """`compare`'s verdicts on two sides, beside what is true: with a plant, that B's side does its work more often. Raises RunFailed where
    the runs are not of one commit."""
    found = compare([load_report(run) for run in a], [load_report(run) for run in b])
    commits = {report.environment.text("commit") for of in (found.a, found.b) for report in of.reports}
    if len(commits) > 1:
        raise RunFailed(f"runs of {len(commits)} commits, {', '.join(sorted(commits))}: compared are runs of the same code")
    pairs = found.pairs
    keys = zip(pairs["point"], pairs["op"], pairs["impl"], strict=True)
    hit = [plant is not None and plant.hits(*key) for key in keys]
    slowed, others = pairs[hit], pairs[[not h for h in hit]]
    called = others.loc[others["verdict"].isin(["slower", "faster"]), "point"].tolist()
    for family in found.families:
        if family.verdict in ("slower", "faster") and (plant is None or (family.op, family.impl) != (plant.op, plant.impl)):
            called.append(f"mean of {family.op} {family.impl} {family.precision}")
    name = f"{a[-1].name} → {b[-1].name}"
    counts = Counter({verdict: int((pairs["verdict"] == verdict).sum()) for verdict in JUDGED})
    slower, unclear = (int((slowed["verdict"] == verdict).sum()) for verdict in ("slower", "unclear"))
    return Trial(name, 1, counts, [f"{name}: {point}" for point in called], len(slowed), slower, unclear)


def nights(name: str, before: Sequence[Path], after: Sequence[Path], plant: Plant | None) -> Trial:
    """`nightly`'s verdicts, each run a night: every run of `before` and `after` is judged by the history up to it. With a plant, the runs
    `after` do its work more often. Series that have too few nights to be judged are not counted."""
    counts = Counter(dict.fromkeys(JUDGED, 0))
    called: list[str] = []
    confirmed: set[str] = set()
    series: set[tuple[str, str, str]] = set()
    judged = suspect = 0
    with tempfile.TemporaryDirectory() as folder:
        for run_dir in (*before, *after):
            found = judge_run(run_dir, Path(folder), calendar=EACH_RUN).judged
            judged += found.verdict.judged > 0
            suspect += found.verdict.judged > 0 and bool(found.verdict.suspect)
            counts["same"] += found.verdict.judged
            series.update(zip(*(found.nights.series[column] for column in ("point", "op", "impl")), strict=True))
            for change in found.verdict.confirmed:
                counts[change.direction] += 1
                counts["same"] -= 1
                if plant is not None and plant.hits(change.point, change.op, change.impl) and change.direction == "slower":
                    confirmed.add(change.point)
                else:
                    called.append(f"{name}, {run_dir.name}: {change.point}")
    planted = sum(plant.hits(*one) for one in series) if plant else 0
    return Trial(name, judged, counts, called, planted, len(confirmed), planted - len(confirmed), nightly=True, suspect=suspect)
