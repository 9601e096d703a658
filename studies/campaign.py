"""The fault campaign: `python -m studies.campaign`. A long simulated run in which points crash, points hang and the whole run is killed,
and which is resumed until it is done. Then: one row a point, each point once, and no row that was measured was lost or changed.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benches.run.journal import NAME, read_journal
from benches.sweep.load import load_sweep
from kernels.guard import ROOT

POINT_TIMEOUT_S = 20.0  # of a hang; innocent points take far less even where the machine is busy
RUN_LIMIT_S = 600.0


@dataclass(frozen=True)
class Outcome:
    """What the campaign did and found."""

    points: int
    killed: int  # runs ended by SIGKILL before they were done
    rows: int  # lines of the journal that are rows
    distinct: int
    statuses: dict[str, int]
    changed: int  # rows that stood in the journal at a kill and do not stand there, byte for byte, at the end
    unplanned: int  # points that crashed or timed out without being told to
    seconds: float

    @property
    def ok(self) -> bool:
        return self.rows == self.distinct == self.points and self.changed == 0 and self.unplanned == 0


def campaign(folder: Path, points: int, crashes: int, hangs: int, kills: int, seed: int) -> Outcome:
    """Runs it in `folder`. Raises RuntimeError where a run ends otherwise than planned."""
    chosen = random.Random(seed)
    sweep = folder / "campaign.yaml"
    dims = f"{{m: {{range: [1, {points}, 1]}}, n: 512, k: 512}}"
    sweep.write_text(f"name: campaign\nsweeps:\n  - {{op: matmul, impl: torch, precision: bf16, dims: {dims}}}\n", encoding="utf-8")
    ids = [point.id for point in load_sweep(sweep).points]
    picked = chosen.sample(ids, crashes + hangs)
    kinds = ["crash", "abort", "exit", "kill"]
    planned = {point: kinds[i % len(kinds)] for i, point in enumerate(picked[:crashes])} | dict.fromkeys(picked[crashes:], "hang")
    faults = ",".join(f"{fault}:{point}" for point, fault in planned.items())
    run_dir, begin = folder / "run", time.monotonic()
    kept: list[bytes] = []
    for attempt in range(kills + 1):
        kill_at = points * (attempt + 1) // (kills + 1) - chosen.randrange(points // (kills + 1)) if attempt < kills else None
        kept = run(sweep, run_dir, faults, kill_at, kept)
    lines = (run_dir / NAME).read_bytes().splitlines()
    rows = read_journal(run_dir).rows
    lost = [row.point for row in rows if row.status in ("crashed", "timeout", "oom")]
    return Outcome(
        points,
        kills,
        len(lines),
        len({row.point for row in rows} & set(ids)),
        dict(Counter(row.status for row in rows)),
        sum(line not in lines for line in kept),
        len(set(lost) ^ set(planned)),
        time.monotonic() - begin,
    )


def run(sweep: Path, run_dir: Path, faults: str, kill_at: int | None, kept: list[bytes]) -> list[bytes]:
    """Starts or resumes the run; kills it once `kill_at` rows are there, or lets it end. Returns the whole lines then in the journal."""
    target = ["--resume", str(run_dir)] if run_dir.exists() else ["--sweep", str(sweep), "--run-dir", str(run_dir)]
    options = ["--benchmark-only", "--device", "simulated", "--point-timeout", str(POINT_TIMEOUT_S), "-qq", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "benches/", "-p", "no:reports.pytest_plugin", *options, *target]  # no page
    log = (run_dir.parent / "pytest.log").open("ab")
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "MICROBENCH_FAULTS": faults}, stdout=log, stderr=log)
    journal, deadline = run_dir / NAME, time.monotonic() + RUN_LIMIT_S
    while process.poll() is None:
        if time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(f"a run did not end within {RUN_LIMIT_S:g} s; see {log.name}")
        if kill_at is not None and journal.exists() and journal.read_bytes().count(b"\n") >= kill_at:
            process.kill()
            process.wait()
            break
        time.sleep(0.01)
    if kill_at is None and process.returncode not in (0, 1):
        raise RuntimeError(f"the last run ended with {process.returncode}; see {log.name}")
    whole = [line for line in journal.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    return [*kept, *(line.rstrip(b"\n") for line in whole)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m studies.campaign", description=__doc__)
    for name, default in (("points", 1000), ("crashes", 10), ("hangs", 5), ("kills", 5), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = campaign(Path(folder), arguments.points, arguments.crashes, arguments.hangs, arguments.kills, arguments.seed)
    planted = f"{arguments.crashes} crashes, {arguments.hangs} hangs and {outcome.killed} kills of the run"
    print(f"{outcome.points} points with {planted} planted, in {outcome.seconds:.0f} s:")
    counts = ", ".join(f"{count} {status}" for status, count in sorted(outcome.statuses.items()))
    print(f"  {outcome.rows} rows, {outcome.distinct} distinct points; {counts}")
    print(f"  {outcome.changed} measured rows lost or changed, {outcome.unplanned} points that ended otherwise than planned")
    print("ok" if outcome.ok else "NOT OK")
    return 0 if outcome.ok else 1


if __name__ == "__main__":
    sys.exit(main())
