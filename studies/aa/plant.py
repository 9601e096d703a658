"""A pytest plugin (`-p studies.aa.plant`) that makes one implementation of one op do its work several times a call.

MICROBENCH_PLANT="elementwise:torch:13": each call of PyTorch's elementwise points runs its kernel 13 times. A sample is at least one
call, so that every sample sees all of it; 13 beside 10 is a slowdown of 1.3× exactly, in the same code and on the same operands.

The sentinels are left alone: they tell what the machine did. What is measured is unchanged for everything else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from benches.run import sentinels, worker
from kernels.op import Impl, Inputs, Kernel, Point
from kernels.registry import OPS

VARIABLE = "MICROBENCH_PLANT"
_originals: dict[str, Impl] = {}  # of a worker: the implementation that a plant stands for


@dataclass(frozen=True)
class Plant:
    """One implementation of one op, and how often a call does its work."""

    op: str
    impl: str
    times: int = 1

    def __str__(self) -> str:
        return f"{self.op}:{self.impl}:{self.times}"

    def hits(self, point: str, op: str, impl: str) -> bool:
        """Whether a point of that id, op and implementation is slowed."""
        return (op, impl) == (self.op, self.impl) and point not in SENTINELS


SENTINELS = {point.id for kind in ("cpu", "cuda") for point in sentinels.points(kind).values()}


def parse(text: str) -> Plant:
    """ "op:impl" or "op:impl:times". Raises ValueError with one line."""
    op, _, rest = text.partition(":")
    impl, _, times = rest.partition(":")
    if op not in OPS or impl not in OPS[op].impls or not (times or "1").isdigit():
        known = ", ".join(f"{name}:{impl}" for name, one in OPS.items() for impl in one.impls)
        raise ValueError(f"{text!r} names no implementation: one of {known}")
    return Plant(op, impl, int(times or 1))


def pytest_configure() -> None:
    """Workers are spawned and load no plugin: they start here instead of where they do, which plants and then goes on there."""
    worker.start = start


def start(log: str, opening: dict[str, Any], memory_bytes: int | None) -> None:
    """First thing in a new worker."""
    plant = planted()
    impls = OPS[plant.op].impls
    _originals[plant.impl] = impls[plant.impl]
    impls[plant.impl] = replace(impls[plant.impl], build=f"{__name__}:build")
    worker.start(log, opening, memory_bytes)


def planted() -> Plant:
    """What the environment asks for."""
    return parse(os.environ[VARIABLE])


def build(point: Point, inputs: Inputs) -> Kernel:
    """The planted implementation's kernel; of a sentinel as it was."""
    kernel = _originals[point.impl].load()(point, inputs)
    return kernel if point.id in SENTINELS else replace(kernel, run=repeated(kernel.run, planted().times))


def repeated(run: Callable[[], Any], times: int) -> Callable[[], Any]:
    """A call that does the work of `times` and returns what the last one gave."""

    def several() -> Any:
        for _ in range(times - 1):
            run()
        return run()

    return several
