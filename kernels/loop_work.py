"""What the main loop of a compiled kernel asks of an SM, and how many clocks that takes at least. Plain figures: neither torch nor triton.

Each pass of the loop asks an SM for
    matrix    FLOPs / (FLOPs a clock): what the peak is made of. FLOPs a clock are peak / (SMs × the clock at which the peak is quoted)
    issue     instructions × warps / 4: four schedulers, each issuing one instruction a clock (CUDA C++ Programming Guide, "Architecture")
    shared    bytes / 128: what warpgroup products read from shared memory, and what is copied into it (128 bytes a clock, the same table)
    loads     bytes / 64: what comes from the L2. NVIDIA publishes no such figure for Hopper: 64 bytes a clock for each SM is assumed.
              What UTMALDG copies does not stand in the code, and is left out
Nothing overlaps better than perfectly. Latencies, imbalance, the code outside the loop, warps that only load, and the power cap are left
out, so a measured time is longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kernels.gpus import Gpu

SCHEDULERS = 4  # of an SM
ROUNDED = 0.001  # 989.5e12 is quoted for 132 × 4096 × 1.83e9 = 989.4e12
SHARED_BYTES_A_CLOCK, L2_BYTES_A_CLOCK = 128, 64


@dataclass(frozen=True)
class LoopWork:
    """One pass of the main loop, by the warps of a block that run it; of warp-specialised kernels by one of the groups that multiply."""

    flops: float
    instructions: float  # issued, by all of those warps
    shared_bytes: float  # read from shared memory by warpgroup products and loads, and written to it
    loaded_bytes: float  # from the L2, as far as the code shows it


@dataclass(frozen=True)
class Bound:
    """Clocks of an SM for one pass of the loop by all resident blocks, by what takes them."""

    matrix: float
    issue: float
    shared: float
    loads: float

    @property
    def fraction(self) -> float:
        """The largest fraction of the peak that the loop can reach, 0 to 1."""
        return self.matrix / max(self.matrix, self.issue, self.shared, self.loads)

    @property
    def limited_by(self) -> str:
        """The largest of the four."""
        return _largest({"matrix units": self.matrix, "issue slots": self.issue, "shared memory": self.shared, "loads": self.loads})


def _largest(clocks: dict[str, float]) -> str:
    """What takes most clocks; the matrix units, where nothing takes more than they do but for the rounding of a quoted peak."""
    largest = max(clocks, key=clocks.__getitem__)
    return largest if clocks[largest] > (1 + ROUNDED) * clocks["matrix units"] else "matrix units"


def bound_of(work: LoopWork, blocks: int, precision: str, gpu: Gpu) -> Bound | None:
    """What one pass takes of an SM that holds so many blocks; None for a precision whose peak is not known."""
    a_clock = flops_a_clock(precision, gpu)
    if a_clock is None:
        return None
    return Bound(
        matrix=blocks * work.flops / a_clock,
        issue=blocks * work.instructions / SCHEDULERS,
        shared=blocks * work.shared_bytes / SHARED_BYTES_A_CLOCK,
        loads=blocks * work.loaded_bytes / L2_BYTES_A_CLOCK,
    )


def flops_a_clock(precision: str, gpu: Gpu) -> float | None:
    """FLOPs of one SM a clock; None where the peak is not known.

    The peak of fp32, on no matrix unit, is quoted at the highest clock: 67e12 = 132 SMs × 256 × 1.98 GHz.
    """
    peak = gpu.peak_flops_per_s.get(precision)
    clock = (precision == "fp32" and gpu.max_clock_hz) or gpu.boost_clock_hz
    return peak / (gpu.sm_count * clock) if peak else None


def least_s(loops: Sequence[LoopWork], flops: float, precision: str, gpu: Gpu) -> tuple[float, str] | None:
    """The seconds in which an SM at its highest clock can compute so many FLOPs by the fastest of these loops, and what limits it; None
    where that is not known.

    The term `loads` is left out: it rests on an assumed figure, and loads that a mask switches off count in it.
    """
    bounds = [(bound_of(loop, 1, precision, gpu), loop.flops) for loop in loops if loop.flops]
    rates = [(_largest(terms := _sure(bound)), max(terms.values()) / per) for bound, per in bounds if bound]
    if not rates:
        return None
    limit, clocks_a_flop = min(rates, key=lambda rate: rate[1])
    return flops * clocks_a_flop / (gpu.max_clock_hz or gpu.boost_clock_hz), limit


def _sure(bound: Bound) -> dict[str, float]:
    return {"matrix units": bound.matrix, "issue slots": bound.issue, "shared memory": bound.shared}
