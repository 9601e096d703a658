"""One test a point of the sweep, whatever its op."""

from __future__ import annotations

from collections.abc import Callable


def test_point(point: str, bench: Callable[[str], None]) -> None:
    bench(point)
