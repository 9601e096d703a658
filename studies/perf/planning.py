"""Expanding a sweep of 20,000 points, and predicting 100,000: those of a sweep, and as many different shapes."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from benches.sweep.load import load_sweep
from kernels.cost_model import predict
from kernels.gpus import load_gpu
from kernels.registry import OPS

SWEEP = """name: perf
sweeps:
  - {op: matmul, precision: [bf16, fp8_e4m3], impl: [torch, triton], layout: nt, dims: {m: {range: [1, 5000, 1]}, n: 4096, k: 4096}}
"""


def figures() -> list[tuple[str, float, float, str]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "perf.yaml"
        path.write_text(SWEEP, encoding="utf-8")
        start = time.perf_counter()
        points = load_sweep(path).points
        expanding = time.perf_counter() - start
    gpu = load_gpu("h100_sxm5")
    sizes = np.random.default_rng(0).integers(1, 10_000, (100_000, 3)).tolist()
    shapes = [OPS["matmul"].point("torch", "bf16", dict(zip("mnk", size, strict=True))) for size in sizes]
    figures = [(f"expanding {len(points):,} points", expanding, 2.0, "s")]
    for name, asked in (("100,000 points of a sweep", points * 5), ("100,000 different shapes", shapes)):
        start = time.perf_counter()
        predict(asked, gpu)
        figures.append((f"predicting {name}", time.perf_counter() - start, 2.0, "s"))
    return figures
