"""Notes of a session and the time left, on pytest's terminal."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from typing import Any

import pytest

from kernels.escaping import one_line

PROGRESS_EVERY_S = 30.0


class Progress:
    """Prints the time left every PROGRESS_EVERY_S seconds, on a terminal only: a CI log and -q stay quiet."""

    def __init__(self, config: pytest.Config):
        self.config = config
        self.terminal: Any = config.pluginmanager.get_plugin("terminalreporter")
        self.capture: Any = config.pluginmanager.get_plugin("capturemanager")
        at_terminal = all(stream is not None and stream.isatty() for stream in (sys.stdout, sys.stderr))  # None: closed
        self.shown = self.terminal is not None and at_terminal and config.get_verbosity() >= 0
        self.start = self.last = time.monotonic()
        self.done = 0

    def tell(self, notes: list[str], important: bool = False) -> None:
        """Prints notes even while pytest captures output; under -q only important ones, and none without a terminal reporter."""
        if self.terminal is None or (self.config.get_verbosity() < 0 and not important):
            return
        with self.capture.global_and_fixture_disabled() if self.capture else nullcontext():
            for note in notes:
                self.terminal.ensure_newline()
                self.terminal.write_line(one_line(note), yellow=True)

    def step(self, total: int) -> None:
        self.done += 1
        now = time.monotonic()
        if self.shown and now - self.last >= PROGRESS_EVERY_S and self.done < total:
            self.last = now
            left = (now - self.start) / self.done * (total - self.done)
            self.terminal.ensure_newline()
            self.terminal.write_line(f"{self.done} of {total} points, about {minutes(left)} left", cyan=True)


def minutes(seconds: float) -> str:
    """Returns a duration as text, in seconds or whole minutes."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
