"""The progress of a fleet: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from benches.fleet.driver import Progress
from benches.units import time_text

EVERY_S = 30.0


def line_of(progress: Progress) -> str:
    """Returns the progress as text: GPUs, rows, failures and the time left."""
    others = [f"{count:,} {what}" for count, what in ((progress.waiting, "not open yet"), (progress.lost, "lost")) if count]
    more = f" ({', '.join(others)})" if others else ""
    left = f", about {time_text(progress.left_s)} left" if progress.left_s is not None and progress.done < progress.total else ""
    gpus = f"{progress.gpus} GPU{'' if progress.gpus == 1 else 's'} measuring{more}"
    return f"{gpus}, {progress.done:,} of {progress.total:,} rows, {progress.failed:,} failed{left}"


class Shown:
    """A context manager that is called with the progress."""

    def __init__(self, console: Console, every_s: float = EVERY_S):
        self._console, self._every_s = console, every_s
        self._last_s = time.monotonic()
        self._bar = Bar(BarColumn(), TextColumn("{task.description}"), console=console, transient=True) if console.is_terminal else None
        self._task = self._bar.add_task("starting", total=None) if self._bar else None

    def __enter__(self) -> Shown:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        if self._bar and self._task is not None:
            total = progress.total or None
            self._bar.update(self._task, description=line_of(progress), completed=progress.done, total=total)
        elif time.monotonic() - self._last_s >= self._every_s:
            self._last_s = time.monotonic()
            self._console.print(line_of(progress), markup=False, highlight=False, soft_wrap=True)
