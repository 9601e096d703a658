"""Forward and backward passes of products and deep linear models: one test a point of the sweep."""

from __future__ import annotations

from collections.abc import Callable


def test_gradient(point: str, bench: Callable[[str], None]) -> None:
    bench(point)
