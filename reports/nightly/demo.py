"""`python -m reports demo-history DIR`: run directories and a history in which the truth is known. SIMULATED, and said so everywhere.

Times are what the cost model predicts for an H100, with a night's noise; EVENTS are planted into them. The last night shows all.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benches.row import Row, new_row
from benches.run import environment
from benches.run.sentinels import NAME as SENTINELS
from benches.run.sentinels import Reading
from benches.sweep.load import Sweep, load_sweep
from kernels.console import open_console
from kernels.cost_model import predict
from kernels.gpus import DEFAULT_GPU, load_gpu
from kernels.op import Point
from kernels.registry import OPS, baseline_of, impl_of
from reports.history.store import add_run
from reports.nightly import index_page
from reports.nightly.night import judge_run, write_pages
from reports.nightly.verdict_text import show

GPU = load_gpu(DEFAULT_GPU)
NIGHTS = 40
SERIES = 60
JUDGED = 7  # nights at the end, each with its page
NOISE, IN_RUN = 0.006, 0.002  # of a night, and of a sample within it; standard deviations, relative
SEED = 20261101
FIRST = datetime(2026, 10, 1, 2, 30, tzinfo=UTC)
GPUS = ("GPU-00000000-demo-a", "GPU-00000000-demo-b")
DRIVER_NIGHT, DRIVERS = 6, ("570.124.06", "575.57.08")
SHIFT_NIGHT, SHIFT = 24, 1.012  # the whole node, one night
OUTLIER_NIGHT, OUTLIER = 28, 1.15
STEP_NIGHT, STEP = NIGHTS - 3, 1.06  # confirmed on the last night
BETTER_NIGHT, BETTER = NIGHTS - 4, 0.92
GPU_NIGHT, GPU_STEP = NIGHTS - 4, 1.05
COMMITS = ("4f1c2a9be07d", "9ad03e5517c2")  # before and from STEP_NIGHT on


@dataclass(frozen=True)
class Plan:
    """Which point has which fate, by id."""

    slower: str  # a Triton kernel whose configuration and machine code changed
    faster: str
    outlier: str
    broken: str  # wrong on the last night
    vanished: str
    unusual: str  # on the last night alone


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="where runs/ and history/ are made")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Exit code 1, which is what the last night deserves; 2 where DIR cannot be used."""
    runs, history = given.folder / "runs", given.folder / "history"
    if os.path.exists(runs) or os.path.exists(history):
        print(f"error: {given.folder} already holds runs or a history: name another", file=sys.stderr)
        return 2
    try:
        for night in range(NIGHTS):
            for gpu in range(len(GPUS)):
                folder = add_run_dir(runs, history, night, gpu)
                if night >= NIGHTS - JUDGED:
                    last = judge_run(folder, history)
                    page = write_pages(last)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"SIMULATED: {NIGHTS} nights of {SERIES} points on {len(GPUS)} GPUs in {given.folder}, the last {JUDGED} judged; of the last:")
    show(last.judged.verdict, open_console())
    print(page)
    print(history / index_page.NAME)
    return last.judged.verdict.exit_code


@cache
def sweep() -> Sweep:
    """Returns the nightly sweep. Expanding it takes a tenth of a second, and every night of both GPUs needs it."""
    return load_sweep("nightly")


@cache
def points() -> list[Point]:
    """Returns SERIES points, evenly spaced over the nightly sweep, so that every family is among them."""
    every = [p for p in sweep().points if p.op in ("matmul", "elementwise", "einsum") and p.precision != "tf32"]
    return [every[i] for i in np.linspace(0, len(every) - 1, SERIES).astype(int)]


@cache
def predicted_s() -> list[float]:
    """Returns the seconds that the cost model predicts for each of the points, which every night of both GPUs needs."""
    return [float(seconds) for seconds in predict(points(), GPU).predicted_s]


def plan(of: list[Point]) -> Plan:
    """The fates of these points, the same each time."""
    triton = [p.id for p in of if impl_of(p).language == "triton"]
    torch = [p.id for p in of if p.impl == baseline_of(p.op)]
    return Plan(triton[2], torch[3], torch[5], triton[6], torch[8], torch[10])


def add_run_dir(runs: Path, history: Path, night: int, gpu: int) -> Path:
    """Writes one night of one GPU and adds it to the history. Raises OSError."""
    started = FIRST + timedelta(days=night, minutes=40 * gpu)
    folder = runs / f"{started:%Y%m%dT%H%M%SZ}-demo-{gpu}"
    folder.mkdir(parents=True)
    fields = fields_of(night, gpu, started)
    rng = np.random.default_rng([SEED, night, gpu])
    environment.write(folder, fields)
    (folder / "sweep.yaml").write_text(sweep().resolved, encoding="utf-8")
    rows = list(rows_of(night, gpu, rng))
    (folder / "rows.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in rows), encoding="utf-8")
    told = "".join(json.dumps(asdict(one)) + "\n" for one in sentinels_of(night, gpu, started, rng))
    (folder / SENTINELS).write_text(told, encoding="utf-8")
    add_run(history, folder)
    return folder


def fields_of(night: int, gpu: int, started: datetime) -> dict[str, Any]:
    """environment.json."""
    return {
        "started_utc": started.isoformat(),
        "finished_utc": (started + timedelta(minutes=27)).isoformat(),
        **{"host": "demo-node", "device_kind": "simulated", "device_name": f"simulated {GPU.boards[0]}", "device_uuid": GPUS[gpu]},
        **{"driver": DRIVERS[night >= DRIVER_NIGHT], "clock_policy": "power cap 700 W", "gpu": GPU.name, "ceilings": None},
        "versions": {"python": "3.12.9", "torch": "2.11.0", "triton": "3.6.0", "nvidia-cublas-cu12": "12.8.4.1"},
        **{"commit": COMMITS[night >= STEP_NIGHT], "dirty": False, "seed": SEED, "sweeps": ["nightly"], "regime": "sustained"},
        "interrupted": False,
    }


def rows_of(night: int, gpu: int, rng: np.random.Generator) -> Iterator[Row]:
    """A row a point."""
    chosen = points()
    fates = plan(chosen)
    for point, seconds in zip(chosen, predicted_s(), strict=True):
        cost = OPS[point.op].cost(point, "cuda")
        if point.id == fates.vanished and night == NIGHTS - 1:
            continue
        if point.id == fates.broken and night == NIGHTS - 1:
            yield new_row(point, cost, "wrong", "3 of 4096 elements are off; worst at (17, 4): got 3.25, expected 2.87 ± 0.02")
            continue
        in_triton = impl_of(point).language == "triton"
        changed = point.id == fates.slower and night >= STEP_NIGHT
        median = seconds * factor(point.id, fates, night, gpu) * np.exp(rng.normal(0, NOISE))
        samples = sorted(float(median * np.exp(rng.normal(0, IN_RUN))) for _ in range(31))
        yield new_row(
            point,
            cost,
            "ok",
            median_s=samples[15],
            ci_low_s=samples[9],
            ci_high_s=samples[21],
            samples_s=samples,
            timer="virtual time (simulated)",
            regime="sustained",
            cache="cold",
            config=("64x64x32 w4 s3" if changed else "128x256x64 w8 s3") if in_triton else None,
            source_hash="v2:5d1f0c5277ab41e0" if changed else "v2:77ab41e05d1f0c52",
            machine_code_hash=("c09e4413" if changed else "1b7d90aa") if in_triton else None,
            conditions=conditions(night, gpu, rng),
        )


def factor(point: str, fates: Plan, night: int, gpu: int) -> float:
    """What is planted: a point's time over what it would be."""
    planted = [
        (STEP, point == fates.slower and night >= STEP_NIGHT),
        (BETTER, point == fates.faster and night >= BETTER_NIGHT),
        (OUTLIER, point == fates.outlier and night == OUTLIER_NIGHT),
        (1.08, point == fates.unusual and night == NIGHTS - 1),
        (SHIFT, night == SHIFT_NIGHT),
        (GPU_STEP, gpu == 1 and night >= GPU_NIGHT),
    ]
    return float(np.prod([size for size, here in planted if here]))


def conditions(night: int, gpu: int, rng: np.random.Generator) -> dict[str, Any]:
    """What NVML would tell; the second GPU has run slower since GPU_NIGHT."""
    slow = GPU_STEP if gpu == 1 and night >= GPU_NIGHT else 1.0
    told = {"sm_clock_hz": 1.755e9 / slow, "memory_clock_hz": 2.619e9, "power_w": 640 + rng.normal(0, 8)}
    return {name: round(float(value), 1) for name, value in told.items()} | {"temperature_c": 61.0 + 9 * (slow > 1)}


def sentinels_of(night: int, gpu: int, started: datetime, rng: np.random.Generator) -> Iterator[Reading]:
    """Every few minutes of the run."""
    slow = factor("", Plan(*["-"] * 6), night, gpu)
    for minute in range(0, 27, 3):
        for name, seconds in (("matmul bf16 4096³", 1.83e-4), ("copy 1024 MiB", 6.9e-4)):
            utc = (started + timedelta(minutes=minute)).isoformat()
            yield Reading(name, minute * 60.0, utc, seconds * slow * float(np.exp(rng.normal(0, 0.002))), 1.755e9 / slow, 61.0)
