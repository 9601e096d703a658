"""Forward and backward passes of Transformers: one test a point of the sweep."""

from __future__ import annotations

from collections.abc import Callable


def test_transformer(point: str, bench: Callable[[str], None]) -> None:
    bench(point)
