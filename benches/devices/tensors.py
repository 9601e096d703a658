"""Workloads made of real tensors, on a CPU or a CUDA device."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from benches import correctness
from benches.correctness import Verdict
from benches.devices.base import TooLittleMemory
from kernels.fingerprint import machine_code_hash
from kernels.op import Inputs, Kernel, Point
from kernels.registry import OPS
from kernels.torch_modes import set_precision_mode


def is_out_of_memory(error: Exception) -> bool:
    """PyTorch's CPU allocator raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


@contextmanager
def memory_errors(doing: str = "") -> Iterator[None]:
    """Out-of-memory errors, whatever they are called, as TooLittleMemory with their first line."""
    try:
        yield
    except Exception as e:
        if is_out_of_memory(e):
            raise TooLittleMemory(doing + str(e).splitlines()[0]) from e
        raise


def data_seed(point: Point, seed: int) -> int:
    """The same operands for every implementation of a case: the seed depends on all but `impl`."""
    case = "-".join([point.op, point.precision, repr(sorted(point.dims.items())), repr(sorted(point.options.items()))])
    return seed ^ zlib.crc32(case.encode())


class BufferSet:
    """Operands and output of one set, the kernel bound to them, and what it last returned.

    The result is kept until the next one of the same set: a kernel that allocates its result then rotates through outputs as well.
    """

    def __init__(self, inputs: Inputs, kernel: Kernel):
        self.inputs, self.kernel = inputs, kernel
        self.result: Any = None
        self.launches = 0

    def restore(self, first: Inputs) -> None:
        """The values that updated operands had before any launch."""
        for mine, its in zip(self.inputs.updated, first.updated, strict=True):
            mine.copy_(its)
        if self.kernel.reset:
            self.kernel.reset()


class TensorWorkload:
    """Operands, output buffer and kernel of one point, in one set or several.

    `shape` is the point whose dims the tensors have: the point itself, or its shrunk twin in Triton's interpreter. The kernel is built
    for `point`, so that the configuration which the real shape would use is the one that is checked.
    """

    def __init__(self, point: Point, shape: Point, device: str, seed: int):
        set_precision_mode(point.precision)
        self._op, self._point, self._shape, self._device = OPS[point.op], point, shape, device
        self._seed = data_seed(shape, seed)
        self.cost = self._op.cost(point, "cuda" if device == "cuda" else "cpu")
        self.rotatable = True
        self.peak_memory_bytes: int | None = None
        self.scratch_bytes: int | None = None
        self._sets = [self._make_set()]
        self._next = 0
        self._last = self._sets[0]

    def _make_inputs(self) -> Inputs:
        return self._op.load("make_inputs")(self._shape, self._device, self._seed)

    def _make_set(self) -> BufferSet:
        with memory_errors():
            inputs = self._make_inputs()
            return BufferSet(inputs, self._op.impls[self._point.impl].load()(self._point, inputs))

    @property
    def config(self) -> str | None:
        """Of the kernel of the last launch; of a compiled one it is known from the first launch on."""
        config = self._last.kernel.config
        return config() if callable(config) else config

    @property
    def machine_code_hash(self) -> str | None:
        """Of the Triton kernels of the last launch."""
        return machine_code_hash(self._last.kernel.compiled)

    @property
    def updates(self) -> bool:
        """Whether a launch changes what the next one finds."""
        return bool(self._last.inputs.updated or self._last.kernel.reset)

    @property
    def capturable(self) -> bool:
        """As the first set's kernel records it; all sets' kernels are alike."""
        return self._sets[0].kernel.capturable

    @property
    def phases(self) -> tuple[tuple[str, Callable[[], Any]], ...]:
        """Of the first set's kernel."""
        return self._sets[0].kernel.phases

    @property
    def sets(self) -> int:
        return len(self._sets)

    @property
    def touched(self) -> int:
        return sum(s.launches > 0 for s in self._sets)

    @property
    def launches(self) -> int:
        return sum(s.launches for s in self._sets)

    def rotate(self, sets: int) -> None:
        """Holds so many sets, all of the same values, and starts at the first. Raises TooLittleMemory."""
        del self._sets[sets:]
        while len(self._sets) < sets:
            self._sets.append(self._make_set())
        for s in self._sets:
            s.launches = 0
        self._next, self._last = 0, self._sets[0]

    def release_results(self) -> None:
        """Lets go of what launches have returned, so that the next one allocates its result beside nothing."""
        for s in self._sets:
            s.result = None

    def launch(self) -> Any:
        self._last = self._sets[self._next]
        self._next = (self._next + 1) % len(self._sets)
        self._last.launches += 1
        self._last.result = None  # its memory is free for the new one: a set holds one result
        self._last.result = self._last.kernel.run()
        return self._last.result

    def poison(self) -> None:
        """Fills every output with NaN, so that an element that nobody writes is seen, and puts back what launches have updated."""
        first = self._make_inputs() if self.updates else None
        for s in self._sets:
            correctness.poison(s.inputs, s.result)
            if first is not None:
                s.restore(first)

    def verify(self) -> Verdict:
        """What the last launch wrote. A graph writes what its last captured launch returned."""
        with memory_errors("while comparing with the fp64 reference: "):
            operands = self._make_inputs().operands if self.updates else self._last.inputs.operands
            return correctness.verify(self._op, self._shape, self._last.result, self._last.inputs, operands)
