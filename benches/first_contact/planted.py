"""Workloads with something of ours before or behind each launch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kernels.op import Point


class Altered:
    """A workload that calls `before` and `after` around each launch, and that no graph can record."""

    capturable = False

    def __init__(self, workload: Any, before: Callable[[], Any] | None, after: Callable[[], Any] | None):
        self._workload, self._before, self._after = workload, before, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._workload, name)

    def launch(self) -> Any:
        if self._before is not None:
            self._before()
        result = self._workload.launch()
        if self._after is not None:
            self._after()
        return result


@contextmanager
def altered(device: Any, point_id: str, before: Callable[[], Any] | None = None, after: Callable[[], Any] | None = None) -> Iterator[None]:
    """Within the block the device prepares this point so."""
    original = device.load

    def prepare(point: Point, seed: int) -> Any:
        workload = original(point, seed)
        return Altered(workload, before, after) if point.id == point_id else workload

    device.load = prepare
    try:
        yield
    finally:
        del device.load
