"""The least time that a point can take, and the least that the compiled kernels which run it can take.

A median below the first is a measuring error, whatever its interval says. The second is what a Triton kernel's own time is compared with.
"""

from __future__ import annotations

from collections.abc import Sequence

from benches.row import Cache
from kernels import loop_work
from kernels.gpus import Gpu
from kernels.loop_work import LoopWork
from kernels.matmul.choice import busiest_flops, is_tunable
from kernels.matmul.configs import named
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


def bound_s(point: Point, cost: Cost, gpu: Gpu, cache: Cache, config: str | None, loops: Sequence[LoopWork]) -> tuple[float, str] | None:
    """The least seconds of a point by the kernels that were compiled for it, and what limits them: matrix units, issue slots, shared memory
    or memory. None where their main loops are not known, and for ops that do not compute on matrix units.

    loops: of the kernels that run; the fastest of them counts for all FLOPs. With the config of Triton's matmul the FLOPs are those of the
    SM that computes most tiles, else the point's, spread evenly over the SMs.
    """
    if not OPS[point.op].on_matrix_units:
        return None
    tile = named(config) if config and is_tunable(point) else None
    flops = busiest_flops(point, tile, gpu.sm_count) if tile else OPS[point.op].least_flops(point, cost) / gpu.sm_count
    computing = loop_work.least_s(loops, flops, point.precision, gpu)
    if computing is None:
        return None
    moving_s = least_s(point, cost, gpu, cache)
    return computing if computing[0] >= moving_s else (moving_s, "memory")
