"""What a CPU reaches at best: matmul FLOP/s per precision and copy bandwidth, measured at the start of a run.

A fraction of a CPU's data-sheet peak would say little (threads, vector width and clock differ by machine); a fraction of what its own
best kernel reached a minute ago says something.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from benches.devices.tensors import TensorWorkload
from kernels.gpus import Ceilings
from kernels.precisions import PRECISIONS
from kernels.registry import OPS

# Batch, size, layout: PyTorch sends batches, single products and transposed operands to different kernels, and where a CPU lacks units
# for a precision the small ones are the fast ones.
SHAPES = (
    (8, 128, "nt"),
    (8, 128, "nn"),
    (1, 128, "nt"),
    (1, 128, "nn"),
    (1, 256, "nn"),
    (1, 512, "nn"),
    (1, 1024, "nn"),
    (1, 2048, "nn"),
)
ENOUGH_S = 0.15  # a call this long is no longer overhead: larger sizes would find the same rate
REPEATS = 5
AT_LEAST_S = 0.2  # of short calls, more repeats: on a busy machine most of them lose a core for a while
COPY_BYTES = 256 * 2**20  # several times the last-level cache of any one CPU socket's usual size
VECTOR_PRECISIONS = ("fp32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2")  # no TF32 on a CPU


def best_s(call: Callable[[], object]) -> float:
    """Seconds of the fastest call after a warm-up: a ceiling is a best case."""
    call()
    best, calls, begin = float("inf"), 0, time.perf_counter()
    while calls < REPEATS or time.perf_counter() - begin < AT_LEAST_S:
        start = time.perf_counter_ns()
        call()
        best = min(best, (time.perf_counter_ns() - start) / 1e9)
        calls += 1
    return best


def peak_flops_per_s(precision: str) -> float:
    """Best matmul rate over the shapes, until one call takes long enough that a larger one would find no more."""
    op, best = OPS["matmul"], 0.0
    fp8 = PRECISIONS[precision].bytes == 1
    for batch, size, layout in SHAPES:
        if fp8 and batch > 1:
            continue  # torch._scaled_mm is 2-D
        dims = {"m": size, "n": size, "k": size} | ({"b": batch} if batch > 1 else {})
        point = op.point("torch", precision, dims, {"layout": "nt" if fp8 else layout})
        seconds = best_s(TensorWorkload(point, point, "cpu", seed=0).launch)
        best = max(best, op.cost(point, "cpu").flops / seconds)
        if batch == 1 and seconds > ENOUGH_S:
            break
    return best


def copy_bandwidth() -> float:
    """Bytes read and written a second by a copy that no cache holds."""
    source = torch.zeros(COPY_BYTES // 4)
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / best_s(lambda: target.copy_(source))


def measure_ceilings() -> Ceilings:
    """About ten seconds on two cores."""
    peaks = {precision: peak_flops_per_s(precision) for precision in VECTOR_PRECISIONS}
    return Ceilings(peak_flops_per_s=peaks, bandwidth_bytes_per_s=copy_bandwidth())
