"""Points and rows with known times, for the tests of calibrate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benches.row import Row, new_row
from kernels.op import Point
from kernels.registry import OPS

CEILINGS = {"peak_flops_per_s": {"fp32": 1.5e11, "bf16": 1e10}, "bandwidth_bytes_per_s": 2e10}
ON_CPU = {
    "device_kind": "cpu",
    "device_name": "A CPU",
    "cpu": {"model": "A CPU that nobody has", "cores": 2, "threads": 2},
    "ceilings": CEILINGS,
    "started_utc": "2026-11-23T18:00:00+00:00",
}
NOISE = 0.03
MakeRun = Callable[..., Path]


def matmul(m: int, n: int, k: int, precision: str = "bf16", **more: int) -> Point:
    return OPS["matmul"].point("torch", precision, {**more, "m": m, "n": n, "k": k})


def elementwise(m: int, n: int, function: str = "add", precision: str = "bf16") -> Point:
    return OPS["elementwise"].point("torch", precision, {"m": m, "n": n}, {"function": function})


def rows_of(points: Sequence[Point], seconds: np.ndarray, seed: int = 0, **fields: object) -> list[Row]:
    """Rows with NOISE on their times."""
    noisy = seconds * np.exp(np.random.default_rng(seed).normal(0, NOISE, len(points)))
    fields = {"status": "ok", "cache": "cold", **fields}
    return [new_row(p, OPS[p.op].cost(p, "cuda"), median_s=float(s), **fields) for p, s in zip(points, noisy, strict=True)]  # type: ignore[arg-type]
