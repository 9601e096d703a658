"""The fraction of the peak that a kernel's main loop can reach at best on a large shape, by what an SM can do in a clock.

Each pass of the loop asks an SM for
    matrix    FLOPs / (FLOPs a clock): what the peak is made of. FLOPs a clock are peak / (SMs × the clock at which the peak is quoted)
    issue     instructions × warps / 4: four schedulers, each issuing one instruction a clock (CUDA C++ Programming Guide, "Architecture")
    shared    bytes / 128: what warpgroup products read from shared memory, and what is copied into it (128 bytes a clock, the same table)
    loads     bytes / 64: what comes from the L2. NVIDIA publishes no such figure for Hopper: 64 bytes a clock for each SM is assumed.
              What UTMALDG copies does not stand in the code, and is left out
for all the blocks that an SM holds. The bound is matrix / the largest of the four: nothing overlaps better than perfectly. Latencies,
imbalance, the code outside the loop and the power cap are left out, so a measured fraction is lower.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kernels.gpus import Gpu
from kernels.machine_loop import Loop

SCHEDULERS = 4  # of an SM
WARPGROUP = 4  # warps
SHARED_BYTES_A_CLOCK, L2_BYTES_A_CLOCK = 128, 64
REGISTERS, REGISTER_UNIT, LARGEST_BLOCKS = 65_536, 256, 32  # of an SM; a warp's are allotted in units; blocks an SM can hold
RESERVED = 1024  # bytes of shared memory that each block takes besides its own
# By compute capability: warps and bytes of shared memory of an SM. CUDA C++ Programming Guide, table of technical specifications.
SM = {(8, 0): (64, 167_936), (8, 6): (48, 102_400), (8, 9): (48, 102_400), (9, 0): (64, 233_472), (10, 0): (64, 233_472)}
SHAPE = re.compile(r"\.(\d+)x(\d+)x(\d+)\.")
ELEMENT_BYTES = {"HGMMA": 2, "QGMMA": 1}
WARP_SHAPES = {  # m, n, k
    "HMMA.16816": (16, 8, 16),
    "HMMA.1688": (16, 8, 8),
    "HMMA.1684": (16, 8, 4),
    "QMMA.16832": (16, 8, 32),
    "QMMA.16816": (16, 8, 16),
}


@dataclass(frozen=True)
class Occupancy:
    blocks: int  # that an SM holds at once
    warps: int
    limited_by: str  # registers, shared memory, warps or blocks


@dataclass(frozen=True)
class Bound:
    """Clocks of an SM for one pass of the loop by all resident blocks, by what takes them."""

    matrix: float
    issue: float
    shared: float
    loads: float

    @property
    def fraction(self) -> float:
        """Of the peak, at best."""
        return self.matrix / max(self.matrix, self.issue, self.shared, self.loads)

    @property
    def limited_by(self) -> str:
        """The largest of the four."""
        clocks = {"matrix units": self.matrix, "issue slots": self.issue, "shared memory": self.shared, "loads": self.loads}
        return max(clocks, key=lambda name: clocks[name])


def occupancy(registers: int, shared_bytes: int, num_warps: int, gpu: Gpu) -> Occupancy | None:
    """How many blocks of a kernel an SM holds; None for a compute capability whose SM is not known here.

    registers: of a thread. shared_bytes: of a block.
    """
    if gpu.compute_capability not in SM:
        return None
    warps, shared = SM[gpu.compute_capability]
    a_warp = -(-max(1, registers) * 32 // REGISTER_UNIT) * REGISTER_UNIT
    limits = {
        "shared memory": shared // (shared_bytes + RESERVED),
        "registers": REGISTERS // a_warp // num_warps,
        "warps": warps // num_warps,
        "blocks": LARGEST_BLOCKS,
    }
    name = min(limits, key=lambda limit: limits[limit])
    return Occupancy(limits[name], limits[name] * num_warps, name)


def bound(loop: Loop, num_warps: int, blocks: int, precision: str, gpu: Gpu) -> Bound | None:
    """What one pass of the loop takes of an SM that holds `blocks` blocks; None where its matrix instructions' shapes are not known here.

    Only loops of matrix instructions are bounded: Hopper's warpgroup products and those of one warp.
    """
    products = [_product(one.opcode) for one in loop.matrix]
    if not products or None in products or not blocks or precision not in gpu.peak_flops_per_s:
        return None
    flops = shared = 0.0
    for product in products:
        assert product is not None
        m, n, k, groups_of, element = product
        times = num_warps / groups_of
        flops += 2 * m * n * k * times
        shared += (m + n) * k * element * times if groups_of == WARPGROUP else 0
    threads = 32 * num_warps
    moved = {name: threads * _bytes(loop, name) for name in ("LDGSTS", "LDG", "LDS", "STS")}
    a_clock = gpu.peak_flops_per_s[precision] / (gpu.sm_count * gpu.boost_clock_hz)
    return Bound(
        matrix=blocks * flops / a_clock,
        issue=blocks * len(loop.path) * num_warps / SCHEDULERS,
        shared=blocks * (shared + moved["LDGSTS"] + moved["LDS"] + moved["STS"]) / SHARED_BYTES_A_CLOCK,
        loads=blocks * (moved["LDGSTS"] + moved["LDG"]) / L2_BYTES_A_CLOCK,
    )


def _bytes(loop: Loop, name: str) -> int:
    """Bytes that a thread moves in one pass by the loads or stores of this name."""
    kinds = (loop.loads + loop.stores).items()
    return sum(count * int(kind.rpartition(".")[2]) // 8 for kind, count in kinds if kind.startswith(f"{name}."))


def _product(opcode: str) -> tuple[int, int, int, int, int] | None:
    """m, n, k of a matrix instruction, how many warps run it together, and bytes of an operand's element in shared memory."""
    name = opcode.partition(".")[0]
    if name in ELEMENT_BYTES and (found := SHAPE.search(opcode)):
        m, n, k = map(int, found.groups())
        return m, n, k, WARPGROUP, 4 if "TF32" in opcode else ELEMENT_BYTES[name]
    shape = WARP_SHAPES.get(".".join(opcode.split(".")[:2]))
    return (*shape, 1, 0) if shape else None
