"""Kernels that go wrong on purpose, in a worker: what they do to the process that measures, and that the next point is measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from benches.first_contact.check import Check, one_of, within
from benches.first_contact.planted import altered
from benches.row import TIMED, Row, Status
from benches.run import worker
from kernels.op import Point
from kernels.registry import OPS

STEP = "faults"
GOOD = "good point"
EXPECTED: Mapping[str, tuple[Status, ...]] = {
    "illegal access": ("error",),
    "endless kernel": ("timeout",),
    "device assert": ("error",),
    GOOD: TIMED,
}
ENDLESS_CYCLES = 2**60
SIZE = 64


def points() -> list[Point]:
    """One for each of EXPECTED, distinguished by size, so that each has a row of its own; the label names the fault."""
    made = []
    for i, name in enumerate(EXPECTED):
        point = OPS["elementwise"].point("torch", "fp32", {"m": SIZE, "n": SIZE + i}, {"function": "add"})
        made.append(replace(point, label=name))
    return made


def measure_planted(point: Point, timing: bool) -> tuple[str, bool]:
    """`worker.measure_point`, with the fault that the point's label names behind each of its launches."""
    device = worker.bench().device
    fault = None if point.label == GOOD else (SIMULATED if device.kind == "simulated" else CUDA)[point.label]
    with altered(device, point.id, after=fault):
        return worker.measure_point(point, timing)


def illegal_access() -> None:
    """Writes to an address that nothing is mapped to."""
    import torch

    from benches.first_contact.bad_kernel import store_far

    store_far[(1,)](torch.zeros(1, device="cuda"), 2**40)
    torch.cuda.synchronize()


def endless_kernel() -> None:
    import torch

    torch.cuda._sleep(ENDLESS_CYCLES)


def device_assert() -> None:
    """PyTorch's indexing asserts on the device that an index is in range."""
    import torch

    torch.zeros(4, device="cuda")[torch.tensor([10], device="cuda")]
    torch.cuda.synchronize()


def _sticky(message: str) -> Callable[[], None]:
    def fail() -> None:
        raise RuntimeError(f"CUDA error: {message}")

    return fail


def _hang() -> None:
    while True:
        time.sleep(3600)


CUDA: Mapping[str, Callable[[], None]] = {
    "illegal access": illegal_access,
    "endless kernel": endless_kernel,
    "device assert": device_assert,
}
SIMULATED: Mapping[str, Callable[[], None]] = {
    "illegal access": _sticky("an illegal memory access was encountered"),
    "endless kernel": _hang,
    "device assert": _sticky("device-side assert triggered"),
}


def judge_row(name: str, row: Row) -> Check:
    """The status that this fault must have."""
    return one_of(STEP, name, row.status, EXPECTED[name], str(row.reason))


def judge_memory(before: int, after: int, kept: int) -> Check:
    """Bytes in use on the board before and after the faults; at most `kept` more."""
    return within(STEP, "memory that did not come back", (after - before) / 2**20, "MiB", -math.inf, kept / 2**20)
