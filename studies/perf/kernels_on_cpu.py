"""Our median of a 2048³ matmul on this CPU against torch.utils.benchmark's, alternating in one run."""

from __future__ import annotations

import time
from statistics import median

import torch
from torch.utils.benchmark import Timer

from benches.devices.base import Settings
from benches.devices.cpu import CpuDevice
from benches.timing.sampler import sample
from kernels.registry import OPS

SIZE = 2048
ROUNDS = 5
SLOW_S = 1.0  # some CPUs multiply bf16 at 1 GFLOP/s: then fewer calls, in more turns, tell as much


def figures() -> list[tuple[str, float, float, str]]:
    device = CpuDevice()
    return [(f"torch {p} {SIZE}³: our median / torch.utils.benchmark's, less 1", difference(device, p), 0.05, "") for p in ("fp32", "bf16")]


def difference(device: CpuDevice, precision: str) -> float:
    """|median of the pairwise ratios − 1|."""
    point = OPS["matmul"].point("torch", precision, {"m": SIZE, "n": SIZE, "k": SIZE})
    workload = device.load(point, seed=1)
    start = time.perf_counter()
    workload.launch()
    slow = time.perf_counter() - start > SLOW_S
    samples = 2 if slow else 30
    device.settings = Settings(warmup_s=0.0, warmup_max_s=0.0, half_width=1.0, max_s=60.0, min_samples=samples, long_samples=samples)
    timer = Timer("launch()", globals={"launch": workload.launch}, num_threads=torch.get_num_threads())
    ratios = []
    for _ in range(ROUNDS):
        ours = sample(device, workload).interval.median
        theirs = timer.timeit(samples).median if slow else timer.blocked_autorange(min_run_time=2.0).median
        ratios.append(ours / theirs)
    return abs(median(ratios) - 1)
