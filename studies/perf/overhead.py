"""What the suite adds to a point beyond measuring it, and what the journal takes of that."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benches.row import Row
from benches.run.journal import Journal, read_journal
from kernels.guard import ROOT

POINTS = 400
# One shape in several spellings of data and layout: small, so that what is not measuring dominates.
SWEEP = "name: perf\nsweeps:\n  - {op: elementwise, impl: torch, precision: fp32, function: add, dims: {m: {range: [1, 400, 1]}, n: 64}}\n"


def journal_s(row: Row, folder: Path) -> float:
    """Median seconds of one append, fsync included."""
    journal = Journal(folder)
    seconds = []
    for _ in range(200):
        start = time.perf_counter()
        journal.append(row)
        seconds.append(time.perf_counter() - start)
    journal.close()
    return median(seconds)


def figures() -> list[tuple[str, float, float, str]]:
    """Overhead is the session's time between the first and the last point, less the points' own (gate, warm-up and samples)."""
    with tempfile.TemporaryDirectory() as folder:
        sweep, run_dir = Path(folder) / "perf.yaml", Path(folder) / "run"
        sweep.write_text(SWEEP, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "benches/", "--benchmark-only", "-q", "-p", "no:cacheprovider"]
        subprocess.run([*command, "--sweep", sweep, "--run-dir", run_dir, "--device", "cpu"], cwd=ROOT, capture_output=True, check=True)
        rows = read_journal(run_dir).rows
        between = overhead_s(rows)
        (Path(folder) / "journal").mkdir()
        longest = max(rows, key=lambda row: len(row.samples_s))
        appending = journal_s(longest, Path(folder) / "journal")
    name = f"journal: one row of {len(longest.samples_s)} samples, fsynced"
    return [("overhead a point on the CPU, gate and timing excluded", between * 1e3, 5.0, "ms"), (name, appending * 1e3, 0.5, "ms")]


def overhead_s(rows: list[Row]) -> float:
    """Median of start-to-start less the point's own wall time. Seconds."""
    from datetime import datetime

    starts = [datetime.fromisoformat(str(row.started_utc)).timestamp() for row in rows]
    gaps = [after - before - (row.wall_s or 0.0) for before, after, row in zip(starts, starts[1:], rows, strict=False)]
    return median(gaps)
