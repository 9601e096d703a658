"""Points that look slow tonight, measured again in a fresh process: a warning that does not repeat was that process's, or the minute's."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benches.run.journal import read_journal
from benches.run.tuned_file import NAME as TUNED
from kernels.guard import ROOT
from reports.nightly.model import Verdict, Warned
from reports.units import show

FOLDER = "rerun"  # in the run directory
AGAIN = 0.5  # of the excess, that counts as seen again
MOST = 100  # points, the most unusual ones: a node that moved as a whole need not be measured all over again
LIMIT_S = 3600.0  # twice the whole nightly sweep's time by `plan`
DEVICES = ("cuda", "cpu", "simulated")


def measure_again(run_dir: Path, environment: Mapping[str, Any], points: Sequence[str]) -> tuple[dict[str, float], str | None]:
    """Medians in seconds by point, and what went wrong if anything did. The rows stay in RUN_DIR/rerun, or in a temporary folder where
    RUN_DIR is read-only, and are not added to a history.

    environment: of the run, so that caches and regime are the same; points: the first MOST of them.
    """
    folder = run_dir if os.access(run_dir, os.W_OK) else Path(tempfile.mkdtemp(prefix="microbench-"))
    target, count = folder / FOLDER, 1
    while target.exists():
        target, count = folder / f"{FOLDER}-{count}", count + 1
    command = [sys.executable, "-m", "pytest", "benches/", "--benchmark-only", "-q", "--no-inspect", "-p", "no:cacheprovider"]
    command += ["--sweep", str((run_dir / "sweep.yaml").resolve()), "--run-dir", str(target.resolve()), "-k", " or ".join(points[:MOST])]
    command += how_measured(environment)
    if (run_dir / TUNED).is_file():
        command += ["--tuned", str((run_dir / TUNED).resolve())]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return {}, f"the rerun was ended after {LIMIT_S / 60:.0f} minutes"
    except OSError as error:
        return {}, f"the rerun could not be started: {error}"
    try:
        rows = read_journal(target).rows
    except OSError:
        lines = (done.stdout + done.stderr).strip().splitlines()
        return {}, f"the rerun measured nothing (exit {done.returncode}): {lines[-1] if lines else 'no output'}"
    wanted = set(points)
    found = {row.point: row.median_s for row in rows if row.point in wanted and row.median_s is not None}
    return found, f"{MOST} of {len(points)} unusual points were measured again" if len(points) > MOST else None


def how_measured(environment: Mapping[str, Any]) -> list[str]:
    """pytest's options for measuring as a run did."""
    told = {"--device": ("device_kind", DEVICES), "--cache": ("cache", ("cold", "hot")), "--regime": ("regime", ("sustained", "boost"))}
    return [word for option, (name, known) in told.items() if environment.get(name) in known for word in (option, str(environment[name]))]


def with_rerun(verdict: Verdict, medians: dict[str, float], problem: str | None) -> Verdict:
    """The verdict with what the second measurement says of each warning. It confirms nothing: that takes nights."""
    notes = (*verdict.notes, *([problem] if problem else []))
    return replace(verdict, warnings=tuple(_told(one, medians.get(one.point)) for one in verdict.warnings), notes=notes)


def _told(warned: Warned, median_s: float | None) -> Warned:
    if median_s is None:
        return replace(warned, again="could not be measured again")
    ratio = median_s / warned.expected_s
    seen = ratio - 1 >= AGAIN * (warned.ratio - 1)
    return replace(warned, again=f"{'seen again' if seen else 'not seen again'} in a fresh process: {show(ratio, 'change')}")
