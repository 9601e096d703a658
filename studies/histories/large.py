"""A history of 1e7 rows: how long a verdict on 10,000 points takes, and one series; with `--write`, puts it into docs/verdicts.md.

    python -m studies.histories.large [--runs N] [--points N] [--dir DIR] [--write]

Writes about 700 MB to a temporary directory. Exit 1 where a limit is exceeded.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from reports.history.schema import SCHEMA
from reports.history.store import add_table, open_history
from reports.nightly.night import enough_nights
from reports.nightly.night_verdict import judge
from reports.nightly.nights import details, night_from, run_line
from reports.verdict.thresholds import load_thresholds
from studies.histories.page import PAGE
from studies.marked import replace_between

BEGIN, END = "<!-- made by python -m studies.histories.large --write -->", "<!-- end of size -->"
FIRST = datetime(2024, 1, 1, 2, 30, tzinfo=UTC)
LIMITS = {"verdict_s": 10.0, "peak_bytes": 2e9, "series_s": 1.0}


@dataclass(frozen=True)
class Measured:
    rows: int
    verdict_s: float  # opening the history, reading, judging
    verdict_cpu_s: float  # of all threads
    series_s: float  # every line of one series, the history being open
    series_cpu_s: float
    peak_bytes: int
    confirmed: int


def run_id(night: int) -> str:
    return f"{FIRST + timedelta(days=night):%Y%m%dT%H%M%SZ}-node-{night:010x}"


def fill(directory: Path, runs: int, points: int, seed: int = 1) -> None:
    """Nights of normal noise, in which every 500th point becomes 5% slower three nights before the last."""
    rng = np.random.default_rng(seed)
    names = pa.array([f"matmul-torch-bf16-{i}x4096x4096-nt" for i in range(points)])
    level = 10 ** rng.uniform(-6, -2, points)
    fixed = {"device_kind": "cuda", "device_name": "NVIDIA H100 80GB HBM3", "device_uuid": "GPU-0", "driver": "570.1", "torch": "2.13.0"}
    fixed |= {
        "triton": "3.7.1",
        "host": "node",
        "sweep": "nightly",
        "commit": "0" * 40,
        "run_dir": "/runs",
        "clock_policy": "power cap 700 W",
    }
    fixed |= {"op": "matmul", "impl": "torch", "precision": "bf16", "dims": "{}", "regime": "sustained", "cache": "cold", "status": "ok"}
    fixed["mode"] = "graph"
    for night in range(runs):
        median = level * np.exp(0.01 * rng.standard_normal(points) + 0.004 * rng.standard_normal())
        median[::500] *= 1.05 if night >= runs - 3 else 1.0
        told = {"point": names, "median_s": median, "ci_low_s": median * 0.998, "ci_high_s": median * 1.002}
        told |= {"power_w": rng.normal(600, 5, points), "temperature_c": rng.normal(60, 1, points), "sm_clock_hz": np.full(points, 1.755e9)}
        of_run = fixed | {"run": run_id(night), "started_utc": FIRST + timedelta(days=night)}
        columns = [_column(field, told, of_run, points) for field in SCHEMA]
        add_table(directory, pa.Table.from_arrays(columns, schema=SCHEMA))


def _column(field: pa.Field, told: dict[str, object], fixed: dict[str, object], points: int) -> pa.Array:
    if field.name in told:
        return pa.array(told[field.name], field.type)
    return pa.repeat(pa.scalar(fixed.get(field.name), field.type), points)


def cost_of_a_verdict(directory: Path, runs: int) -> Measured:
    """To be called in a fresh process, whose memory is then the verdict's."""
    began = time.perf_counter(), time.process_time()
    opened = enough_nights(directory, run_id(runs - 1), night_from(12))
    verdict = judge(opened.database, run_id(runs - 1), load_thresholds()).verdict
    verdict_s = time.perf_counter() - began[0], time.process_time() - began[1]
    opened = open_history(directory)
    last = run_line(opened.database, run_id(runs - 1))
    asked = pd.DataFrame(
        {"point": ["matmul-torch-bf16-0x4096x4096-nt"], "regime": ["sustained"], "cache": ["cold"], "mode": ["graph"], "oldest": [True]}
    )
    began = time.perf_counter(), time.process_time()
    found = details(opened.database, last, asked, night_from(12))
    series_s = time.perf_counter() - began[0], time.process_time() - began[1]
    if len(found) != runs:
        raise AssertionError(f"{len(found)} lines of a series of {runs} nights")
    rows = opened.database.execute("SELECT count(*) FROM history").fetchall()[0][0]
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Measured(rows, *verdict_s, *series_s, peak_bytes, len(verdict.confirmed))


def table(measured: Measured, points: int) -> list[str]:
    m, busy = measured, f"{os.getloadavg()[0]:.0f} processes at a time on {os.cpu_count()} cores"
    return [
        f"{datetime.now(UTC):%Y-%m-%d}, on {busy}: elapsed seconds are those of a machine as busy as that.",
        "",
        f"| {m.rows:,} rows, {points:,} points | measured | CPU | limit |",
        "|---|---:|---:|---:|",
        f"| verdict: open, read, judge | {m.verdict_s:.1f} s | {m.verdict_cpu_s:.1f} s | {LIMITS['verdict_s']:.0f} s |",
        f"| one series over all nights, once open | {m.series_s:.2f} s | {m.series_cpu_s:.2f} s | {LIMITS['series_s']:.0f} s |",
        f"| memory of that process at most | {m.peak_bytes / 1e9:.2f} GB | | {LIMITS['peak_bytes'] / 1e9:.0f} GB |",
    ]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m studies.histories.large", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--dir", type=Path, help="a history that an earlier call has filled, or is to fill and keep")
    parser.add_argument("--write", action="store_true", help="put the table into docs/verdicts.md")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="histories-") as temporary:
        directory = options.dir or Path(temporary) / "history"
        if not directory.exists():
            fill(directory, options.runs, options.points)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            measured = pool.submit(cost_of_a_verdict, directory, options.runs).result()
    lines = table(measured, options.points)
    planted = -(-options.points // 500)
    print("\n".join([*lines, "", f"{measured.confirmed} changes confirmed; {planted} steps of 5% planted, three nights old"]))
    if options.write:
        replace_between(PAGE, BEGIN, END, lines)
    return 0 if all(getattr(measured, name) <= limit for name, limit in LIMITS.items()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
