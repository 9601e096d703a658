"""How many blocks of a kernel an SM holds, and what its main loop, as the machine code has it, asks of an SM (kernels/loop_work.py)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kernels.gpus import Gpu
from kernels.loop_work import Bound, LoopWork, bound_of
from kernels.machine_loop import Instruction, Loop

WARP, WARPGROUP = 32, 4  # threads; warps
REGISTERS, REGISTER_UNIT, LARGEST_BLOCKS = 65_536, 256, 32  # of an SM; a warp's are allotted in units; blocks an SM can hold
RESERVED = 1024  # bytes of shared memory that each block takes besides its own
# By compute capability: warps and bytes of shared memory of an SM. CUDA C++ Programming Guide, table of technical specifications.
SM = {(8, 0): (64, 167_936), (8, 6): (48, 102_400), (8, 9): (48, 102_400), (9, 0): (64, 233_472), (10, 0): (64, 233_472)}
SHAPE = re.compile(r"\.(\d+)x(\d+)x(\d+)\.")
A_IN_REGISTERS = re.compile(r"R\d+, R\d+, gdesc")
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


def occupancy(registers: int, shared_bytes: int, num_warps: int, gpu: Gpu) -> Occupancy | None:
    """How many blocks of a kernel an SM holds; None for a compute capability whose SM is not known here.

    registers: of a thread. shared_bytes: of a block.
    """
    if gpu.compute_capability not in SM:
        return None
    warps, shared = SM[gpu.compute_capability]
    a_warp = -(-max(1, registers) * WARP // REGISTER_UNIT) * REGISTER_UNIT
    limits = {
        "shared memory": shared // (shared_bytes + RESERVED),
        "registers": REGISTERS // a_warp // num_warps,
        "warps": warps // num_warps,
        "blocks": LARGEST_BLOCKS,
    }
    name = min(limits, key=lambda limit: limits[limit])
    return Occupancy(limits[name], limits[name] * num_warps, name)


def bound(loop: Loop, num_warps: int, blocks: int, precision: str, gpu: Gpu) -> Bound | None:
    """What one pass of the loop takes of an SM that holds `blocks` blocks; None where its work or the peak is not known. num_warps: those
    that run the loop."""
    work = work_of(loop, num_warps)
    return bound_of(work, blocks, precision, gpu) if work and blocks else None


def work_of(loop: Loop, num_warps: int) -> LoopWork | None:
    """One pass of the loop by so many warps; None where the shapes of its matrix instructions are not known here, and for a loop that is
    neither of matrix instructions (Hopper's warpgroup products, those of one warp) nor mostly of multiply-adds."""
    products = [_product(one) for one in loop.matrix]
    threads = WARP * num_warps
    moved = {name: threads * _bytes(loop, name) for name in ("LDGSTS", "LDG", "LDS", "STS")}
    stored, loaded = moved["LDGSTS"] + moved["STS"], moved["LDGSTS"] + moved["LDG"]
    if not products:
        mostly = loop.others is not None and loop.others < 1
        # Threads of a warp share operands of multiply-adds, so what they read from shared memory is not what they are given.
        return LoopWork(2 * threads * loop.multiply_adds, num_warps * len(loop.path), stored, loaded) if mostly else None
    if None in products:
        return None
    flops = shared = 0.0
    for product in products:
        assert product is not None
        m, n, k, groups_of, read = product
        times = num_warps / groups_of
        flops += 2 * m * n * k * times
        shared += read * times
    return LoopWork(flops, num_warps * len(loop.path), shared + stored + moved["LDS"], loaded)


def _bytes(loop: Loop, name: str) -> int:
    """Bytes that a thread moves in one pass by the loads or stores of this name."""
    kinds = (loop.loads + loop.stores).items()
    return sum(count * int(kind.rpartition(".")[2]) // 8 for kind, count in kinds if kind.startswith(f"{name}."))


def _product(one: Instruction) -> tuple[int, int, int, int, int] | None:
    """m, n, k of a matrix instruction, how many warps run it together, and the bytes that they read from shared memory: B, and A where it
    is not in registers, as in `HGMMA R24, R4, gdesc[UR4], R24`."""
    if one.name in ELEMENT_BYTES and (found := SHAPE.search(one.opcode)):
        m, n, k = map(int, found.groups())
        element = 4 if "TF32" in one.opcode else ELEMENT_BYTES[one.name]
        return m, n, k, WARPGROUP, (n + (0 if A_IN_REGISTERS.match(one.operands) else m)) * k * element
    shape = WARP_SHAPES.get(".".join(one.opcode.split(".")[:2]))
    return (*shape, 1, 0) if shape else None
