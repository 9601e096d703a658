"""Batches on a device: drawn at random from a mapped file, copied while the device computes.

The batch of a step follows from the seed and the step's number alone, so that a loader's place is one integer and a resumed run goes on
with the very batches that it would have met.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from kernels.training.tokens import DataError

Arrays = tuple[NDArray, ...]
Tensors = tuple[torch.Tensor, ...]
Source = Callable[[int], Arrays]  # the arrays of a step's batch
Fetched = tuple[Tensors, torch.cuda.Event | None]  # and when they have been copied


def windows(tokens: NDArray, vocab: int, batch: int, sequence: int, seed: int) -> Source:
    """Inputs and targets, each (batch, sequence) int64: `batch` windows of the file, the targets one token further on.

    Raises DataError where the file is shorter than a window and, when such a batch is drawn, where a token is outside the vocabulary.
    """
    starts = len(tokens) - sequence
    if starts < 1:
        raise DataError(f"{len(tokens)} tokens are too few for a window of {sequence} and its targets")

    def draw(step: int) -> Arrays:
        first = np.random.default_rng((seed, step)).integers(0, starts, (batch, 1))
        drawn = tokens[first + np.arange(sequence + 1)].astype(np.int64)
        if drawn.max() >= vocab:
            raise DataError(f"token {drawn.max()} is outside the vocabulary of {vocab}")
        return np.ascontiguousarray(drawn[:, :-1]), np.ascontiguousarray(drawn[:, 1:])

    return draw


def samples(rows: NDArray, count: int, seed: int) -> Source:
    """Features (count, width) and values (count, 1), fp32: rows drawn with replacement."""

    def draw(step: int) -> Arrays:
        drawn = rows[np.random.default_rng((seed, step)).integers(0, len(rows), count)]
        return np.ascontiguousarray(drawn[:, :-1]), np.ascontiguousarray(drawn[:, -1:])

    return draw


def on_device(tensor: torch.Tensor, device: str | torch.device) -> torch.Tensor:
    """A copy, for which the host does not wait where the tensor is pinned."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, device=device).copy_(tensor, non_blocking=True)


class Loader:
    """The batches of a source on a device, one after the other from `step` on.

    On CUDA they pass through pinned memory and a stream of their own, so that the copy does not wait for the host nor the device for the
    copy. `ahead`: a thread prepares the next batch while this one is worked on.
    """

    def __init__(self, source: Source, device: str | torch.device, step: int = 0, ahead: bool = True):
        self.step = step  # of the batch that `next` gives
        self._source, self._device = source, torch.device(device)
        self._stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" and torch.cuda.is_available() else None
        self._thread = ThreadPoolExecutor(1, "loader") if ahead else None
        self._waiting: tuple[int, Future[Fetched]] | None = None

    def next(self) -> Tensors:
        """The batch of `step`, ready for the current stream. Raises DataError."""
        waiting, self._waiting = self._waiting, None
        batch, copied = waiting[1].result() if waiting and waiting[0] == self.step else self._fetch(self.step)
        self.step += 1
        if self._thread:
            self._waiting = (self.step, self._thread.submit(self._fetch, self.step))
        if copied:
            current = torch.cuda.current_stream(self._device)
            current.wait_event(copied)
            for tensor in batch:
                tensor.record_stream(current)  # or the copying stream would reuse its memory while it is still read
        return batch

    def _fetch(self, step: int) -> Fetched:
        arrays = self._source(step)
        if self._stream is None:
            return tuple(on_device(torch.from_numpy(array), self._device) for array in arrays), None
        with torch.cuda.stream(self._stream):
            batch = tuple(on_device(torch.from_numpy(array).pin_memory(), self._device) for array in arrays)
            return batch, self._stream.record_event()

    def close(self) -> None:
        """Ends the thread."""
        if self._thread:
            self._thread.shutdown(cancel_futures=True)
