"""A small history with a planted step, for tests of the nightly's pages: two GPUs, twenty-four points, sixteen nights."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from reports.history.schema import SCHEMA, SENTINEL
from reports.history.store import add_table, open_history
from reports.nightly.fleet import GpuTonight, fleet
from reports.nightly.night_verdict import Judged, judge
from reports.nightly.nights import night_from
from reports.verdict.thresholds import load_thresholds

FIRST = datetime(2026, 10, 1, 20, tzinfo=UTC)
NIGHTS, POINTS = 16, 24
SLOW, BETTER, GONE = 3, 7, 11  # rows of the points that became slower, became faster, and vanished tonight
STEP_NIGHT = NIGHTS - 3
OF_A_RUN = {
    **{"device_kind": "cuda", "device_name": "NVIDIA H100 80GB HBM3", "driver": "570.1", "clock_policy": "power cap 700 W"},
    **{"torch": "2.13.0", "triton": "3.7.1", "host": "node-17", "sweep": "nightly"},
}


@dataclass(frozen=True)
class Night:
    """A judged last night, and where its history lies."""

    history: Path
    judged: Judged
    gpus: list[GpuTonight]


def names(prefix: str = "") -> list[str]:
    return [f"{prefix}matmul-{('torch', 'triton')[i % 2]}-bf16-{127 + i}x129x131-nt" for i in range(POINTS)]


def last_night(folder: Path, points: list[str] | None = None, gpus: int = 2, nights: int = NIGHTS) -> Night:
    """Fills folder/history and judges its last run."""
    history, points = folder / "history", points or names()
    run = ""
    for night in range(nights):
        for gpu in range(gpus):
            run = add_table(history, table(night, gpu, points, folder))
    opened, thresholds = open_history(history), load_thresholds()
    judged = judge(opened.database, run, thresholds)
    return Night(history, judged, fleet(opened.database, judged, night_from(thresholds.night_starts_utc)))


def table(night: int, gpu: int, points: list[str], folder: Path) -> pa.Table:
    """One run: 0.3% of noise; SLOW takes 8% longer from STEP_NIGHT on, BETTER 8% less; the second GPU is 2% slower than the first."""
    started = FIRST + timedelta(days=night, minutes=gpu)
    rng = np.random.default_rng([night, gpu])
    run = f"{started:%Y%m%dT%H%M%SZ}-node-{gpu:010x}"
    of_run = OF_A_RUN | {"run": run, "run_dir": str(folder / run), "started_utc": started, "device_uuid": f"GPU-{gpu}"}
    of_run |= {"commit": f"{'b' if night >= STEP_NIGHT else 'a'}" * 40}
    lines = [of_run | _line(i, point, night, gpu, rng) for i, point in enumerate(points) if not (i == GONE and night == NIGHTS - 1)]
    told = {"point": "copy 1024 MiB", "op": SENTINEL, "status": SENTINEL, "median_s": 6.9e-4 * (1.02 if night == NIGHTS - 1 else 1)}
    return pa.Table.from_pylist([*lines, of_run | told], schema=SCHEMA)


def _line(i: int, point: str, night: int, gpu: int, rng: np.random.Generator) -> dict[str, object]:
    after = night >= STEP_NIGHT
    factor = (1.08 if i == SLOW and after else 0.92 if i == BETTER and after else 1.0) * (1.02 if gpu else 1.0)
    median = 1e-5 * (1 + i) * factor * float(np.exp(0.003 * rng.standard_normal()))
    return {
        **{
            "point": point,
            "op": "matmul",
            "impl": ("torch", "triton")[i % 2],
            "precision": "bf16",
            "dims": f'{{"m":{127 + i},"n":129,"k":131}}',
        },
        **{"regime": "sustained", "cache": "cold", "status": "ok", "median_s": median, "ci_low_s": median, "ci_high_s": median},
        **{"config": "64x64" if i == SLOW and after else "128x128", "sm_clock_hz": 1.755e9, "temperature_c": 60.0 + gpu, "power_w": 640.0},
        **{"mode": "graph", "duty": 0.9 if gpu else 0.6},
    }
