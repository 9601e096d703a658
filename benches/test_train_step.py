"""Training steps: one test a point of the sweep."""

from __future__ import annotations

from collections.abc import Callable


def test_train_step(point: str, bench: Callable[[str], None]) -> None:
    bench(point)
