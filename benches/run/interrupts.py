"""Ctrl-C where it can do no harm."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred_interrupt() -> Iterator[None]:
    """Within the block Ctrl-C waits; at its end KeyboardInterrupt is raised. For steps that must not stop half-way: a row that is
    being written, a lock that a pool holds. Python raises it in the main thread only: elsewhere there is nothing to defer. Where
    Ctrl-C is ignored, as in a shell's background jobs, it stays so."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    arrived: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        arrived.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if arrived:
        raise KeyboardInterrupt
