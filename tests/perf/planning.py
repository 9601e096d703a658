"""Expanding a sweep of 20,000 points, and predicting 100,000."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benches.sweep import load_sweep
from kernels.cost_model import predict
from kernels.gpus import load_gpu

SWEEP = """name: perf
sweeps:
  - {op: matmul, precision: [bf16, fp8_e4m3], impl: [torch, triton], layout: nt, dims: {m: {range: [1, 5000, 1]}, n: 4096, k: 4096}}
"""


def figures() -> list[tuple[str, float, float, str]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "perf.yaml"
        path.write_text(SWEEP)
        start = time.perf_counter()
        points = load_sweep(path).points
        expanding = time.perf_counter() - start
    start = time.perf_counter()
    predict(points * 5, load_gpu("h100_sxm5"))
    return [
        (f"expanding {len(points):,} points", expanding, 2.0, "s"),
        ("predicting 100,000 points", time.perf_counter() - start, 2.0, "s"),
    ]
