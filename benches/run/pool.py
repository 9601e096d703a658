"""The workers that measure into one run directory: one in the caller's thread, or one a GPU, each driven by a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar

from benches.devices.node_gpus import NodeGpu
from benches.run.isolation import Measurer

T = TypeVar("T")
AHEAD = 2  # points a GPU that are scheduled beyond the one that a test waits for


@dataclass(frozen=True)
class Worker:
    """A measurer and the GPU that it was given; None: whichever the device finds."""

    measurer: Measurer
    gpu: NodeGpu | None = None


class InThisThread(Executor):
    """Runs what it is given at once, in the thread that submits it: Ctrl-C and a debugger are then where the work is."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as e:  # whatever it is, the caller of result() gets it
            future.set_exception(e)
        return future


class Pool:
    """Workers of which any may measure any point. threads: each works beside the others and the caller."""

    def __init__(self, workers: Sequence[Worker], threads: bool = False):
        self.workers = tuple(workers)
        self.ahead = AHEAD * len(workers) if threads else 0
        self._executor: Executor = ThreadPoolExecutor(len(workers)) if threads else InThisThread()
        self._idle: SimpleQueue[Worker | None] = SimpleQueue()
        self._lost: list[Worker] = []
        for worker in workers:
            self._idle.put(worker)

    def describe(self) -> dict[str, Any]:
        """What the devices are, as far as they are alike. Opens them all. Raises WorkerError and NoDevice."""
        opened = [self._executor.submit(worker.measurer.describe) for worker in self.workers]
        return alike([future.result() for future in opened])

    def submit(self, function: Callable[[Worker | None], T]) -> Future[T]:
        """Calls the function with the next idle worker, or with None once all are lost."""
        return self._executor.submit(self._with_worker, function)

    def _with_worker(self, function: Callable[[Worker | None], T]) -> T:
        worker = self._idle.get()
        try:
            return function(worker)
        finally:
            if worker is None or worker not in self._lost:
                self._idle.put(worker)
            elif len(self._lost) == len(self.workers):
                self._idle.put(None)

    def lose(self, worker: Worker) -> bool:
        """Gives the worker no more points, from within a function that was given it. Returns whether another is left."""
        self._lost.append(worker)
        return len(self._lost) < len(self.workers)

    def interrupt(self, point: str | None, reason: str) -> None:
        """Ends the wait for a point; None: for whatever is under way, now and from now on."""
        for worker in self.workers:
            worker.measurer.interrupt(point, reason)

    def close(self) -> None:
        """Cancels what is scheduled and ends the workers."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        if self.ahead:
            self.interrupt(None, "the run ended")
        self._executor.shutdown()
        with ThreadPoolExecutor(len(self.workers)) as closing:
            list(closing.map(lambda worker: worker.measurer.close(), self.workers))


def alike(described: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns what several descriptions agree in; null where they differ, and every note of any."""
    first = described[0]
    common = {name: value if all(one.get(name) == value for one in described) else None for name, value in first.items()}
    notes = list(dict.fromkeys(note for one in described for note in one.get("notes") or ()))
    return common | ({"notes": notes} if notes else {})
