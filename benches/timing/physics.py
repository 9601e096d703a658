"""The least time that a point can take. A median below it is a measuring error, whatever its interval says."""

from __future__ import annotations

from benches.row import Cache
from kernels.gpus import Gpu
from kernels.op import Cost, Point
from kernels.registry import OPS, compute_precision

COLD_MISSES = 2 / 3  # of reads, at least, after three times the L2 of other traffic: with random replacement a third of it could survive


def least_s(point: Point, cost: Cost, gpu: Gpu, cache: Cache) -> float:
    """max(FLOPs / peak at the highest clock, bytes that must cross the memory's bus / bandwidth), seconds; 0 where no peak is known.

    The quoted peaks hold at the boost clock, and boards run faster. What must cross the bus is not all of the compulsory traffic: up
    to an L2's worth of results may still lie in the L2 when the kernel ends, and a point whose inputs were left hot need not touch the
    memory for them. Inputs that were made cold must be read from it, all but what a cache that is not strictly least-recently-used
    may have kept of them.
    """
    peak = gpu.peak_flops_per_s.get(compute_precision(point.op, point.precision))
    overclock = (gpu.max_clock_hz or gpu.boost_clock_hz) / gpu.boost_clock_hz
    compute_s = OPS[point.op].least_flops(point, cost) / (peak * overclock) if peak else 0.0
    if cache == "cold":
        missed = 1.0 if cost.bytes > gpu.l2_bytes else COLD_MISSES
        moved = missed * cost.bytes_read + max(0, cost.bytes_written - gpu.l2_bytes)
    else:
        moved = max(0, cost.bytes - gpu.l2_bytes)
    return max(compute_s, moved / gpu.bandwidth_bytes_per_s)
