"""The memory that a point's tensors hold, for tests of the formulas that state it: the same on every CPU."""

from __future__ import annotations

from benches.devices.allocations import held_by_tensors
from benches.devices.tensors import TensorWorkload
from kernels.op import Point


def peak_bytes(point: Point) -> int:
    """Operands, and the most that one launch adds to them."""
    workload, held = held_by_tensors(lambda: TensorWorkload(point, point, "cpu", 1))
    _, launch = held_by_tensors(workload.launch)
    return held.net_bytes + launch.peak_bytes
