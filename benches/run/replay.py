"""Hands samples that were measured elsewhere to pytest-benchmark, to the bit, through its public interface.

`pedantic` calls `setup`, reads the timer, calls the target, reads the timer again and keeps the difference. The clock below reads 0 and
then the sample, so that the difference is the sample itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benches.run.interrupts import deferred_interrupt


class ReplayClock:
    """A timer that replays samples in order."""

    def __init__(self) -> None:
        self.__name__ = "ReplayClock"  # what pytest-benchmark writes as the timer; without it, an address that differs every night
        self._samples: Iterator[float] = iter(())
        self._current = 0.0
        self._reading = 0.0

    def load(self, samples: Sequence[float]) -> None:
        self._samples = iter(samples)

    def advance(self) -> None:
        """Before each round: the next read is 0, the one after it the next sample. After the last sample nothing changes."""
        self._current = next(self._samples, self._current)
        self._reading = 0.0

    def __call__(self) -> float:
        reading, self._reading = self._reading, self._current
        return reading


def replay(benchmark: Any, clock: ReplayClock, samples: Sequence[float]) -> None:
    """`benchmark` is the fixture of a test marked `benchmark(timer=clock)`. Its statistics then equal the samples exactly."""
    clock.load(samples)
    with deferred_interrupt():  # half-replayed statistics would end the session's summary with an error
        benchmark.pedantic(lambda: None, setup=clock.advance, rounds=len(samples))
