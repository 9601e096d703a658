"""Functions in fresh worker processes, with a limit for each call and for all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from benches.run import worker
from benches.run.isolation import CLOSING_S


class Late(Exception):
    """A call did not end in time, or was not started."""


def run_all(
    function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], opening: dict[str, Any], log: Path, workers: int, limit_s: float
) -> Iterator[tuple[int, Any]]:
    """Calls the function with each of `arguments` in `workers` processes: (place, what it returned or the exception), in order.

    opening: arguments of Bench, whose device the function finds in `worker.bench()`. Calls that have not ended after `limit_s` seconds
    in all give Late, a worker that dies ProcessExpired; the processes have then been killed.
    """
    end = time.monotonic() + limit_s
    pool = ProcessPool(max_workers=workers, context=get_context("spawn"), initializer=worker.start, initargs=(str(log), opening, None))
    try:
        futures = [pool.schedule(function, args=args) for args in arguments]
        for place, future in enumerate(futures):
            try:
                yield place, future.result(timeout=max(0.0, end - time.monotonic()))
            except FutureTimeout:
                yield place, Late(f"not finished after {limit_s:.0f} s")
            except (Exception, ProcessExpired) as error:
                yield place, error
    finally:
        closing = threading.Thread(target=_stop, args=(pool,), daemon=True)
        closing.start()
        closing.join(CLOSING_S)


def _stop(pool: ProcessPool) -> None:
    pool.stop()
    pool.join()


def run_one(function: Callable[..., Any], arguments: tuple[Any, ...], opening: dict[str, Any], log: Path, limit_s: float) -> Any:
    """What the function returns in a fresh process. Raises Late, ProcessExpired, or what it raises."""
    for _, result in run_all(function, [arguments], opening, log, 1, limit_s):
        if isinstance(result, BaseException):
            raise result
        return result
    raise AssertionError("run_all gives a result for each call")
