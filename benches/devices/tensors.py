"""Workloads made of real tensors, on a CPU or a CUDA device."""

from __future__ import annotations

import math
import secrets
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import sleep
from typing import Any, Literal

import torch
from torch.cuda import synchronize

from benches import correctness
from benches.correctness import Verdict
from benches.devices import integrity
from benches.devices.base import TooLittleMemory
from kernels.fingerprint import machine_code_hash
from kernels.loop_work import LoopWork
from kernels.op import Inputs, Kernel, Point
from kernels.registry import OPS
from kernels.torch_modes import set_precision_mode

OTHER_VALUES = 2**16  # added to a set's seed for each refill: no two sets ever hold the same values
LATE_S = 0.05  # waited, where a result is wrong, to see whether it still changes


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
    `given`: the operands' values in memory of their own, where the kernel was given others than it was built with.
    """

    def __init__(self, inputs: Inputs, kernel: Kernel, seed: int):
        self.inputs, self.kernel, self.seed = inputs, kernel, seed
        self.given: Inputs | None = None
        self.result: Any = None
        self.launches = 0

    def refill(self, given: Inputs) -> None:
        """Writes other values into the same operands. The kernel's tensors do not show it in their version counters."""
        self.given = given
        for mine, its in zip(self.inputs.operands, given.operands, strict=True):
            mine.data.copy_(its)
        if self.kernel.reset:
            self.kernel.reset()

    def restore(self, first: Inputs) -> None:
        """The values that updated operands had before any launch."""
        for mine, its in zip(self.inputs.updated, first.updated, strict=True):
            mine.data.copy_(its)
        if self.kernel.reset:
            self.kernel.reset()

    def constants(self) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        """Those operands that no launch may change, and what they were given."""
        given = self.given or Inputs((), None)
        updated = correctness.memory_of(self.inputs.updated)
        pairs = zip(self.inputs.operands, given.operands, strict=self.given is not None)
        kept = [(mine, its) for mine, its in pairs if not correctness.memory_of(mine) & updated]
        return tuple(mine for mine, _ in kept), tuple(its for _, its in kept)


def copy_of(result: Any) -> Any:
    """The values of a result as they are now: on a GPU, when the work enqueued so far on the current stream is done and no other."""
    if result is None or correctness.unreal(correctness.tensors(result)):
        return None
    copies = tuple(t.detach().clone() for t in correctness.tensors(result))
    return copies if isinstance(result, tuple) else copies[0]


class TensorWorkload:
    """Operands, output buffer and kernel of one point, in one set or several.

    `shape` is the point whose dims the tensors have: the point itself, or its shrunk twin in Triton's interpreter. The kernel is built
    for `point`, so that the configuration which the real shape would use is the one that is checked.
    """

    def __init__(self, point: Point, shape: Point, device: str, seed: int):
        set_precision_mode(point.precision)
        self._op, self._point, self._shape, self._device = OPS[point.op], point, shape, device
        self._seed = data_seed(shape, seed)
        self._replaced_before = integrity.replaced()
        self._settings = integrity.settings()
        self.cost = self._op.cost(point, "cuda" if device == "cuda" else "cpu")
        self.rotatable = True
        self.peak_memory_bytes: int | None = None
        self.scratch_bytes: int | None = None
        self.fresh_inputs: bool | None = None
        self._sets = [self._make_set(0)]
        self._next = 0
        self._last = self._sets[0]
        self._checked: BufferSet | None = None  # the set that `refill` drew
        self._kept: list[Any] = []  # copies of what it returned since
        self._before: Any = None  # and of what it had returned until then
        self._changed = False  # an operand that launches may only read

    def _make_inputs(self, seed: int) -> Inputs:
        return self._op.load("make_inputs")(self._shape, self._device, seed)

    def _build(self, inputs: Inputs) -> Kernel:
        try:
            return self._op.impls[self._point.impl].load()(self._point, inputs)
        except BaseException:
            self._tampered()  # no check follows, and the next point is another's
            raise

    def _make_set(self, index: int) -> BufferSet:
        with memory_errors():
            inputs = self._make_inputs(self._seed + index)
            return BufferSet(inputs, self._build(inputs), self._seed + index)

    @property
    def config(self) -> str | None:
        """Of the kernel of the last launch; of a compiled one it is known from the first launch on."""
        config = self._last.kernel.config
        return config() if callable(config) else config

    @property
    def config_origin(self) -> Literal["rule", "tuned"] | None:
        """Who chose the config of the kernel of the last launch."""
        return self._last.kernel.config_origin

    @property
    def machine_code_hash(self) -> str | None:
        """Of the Triton kernels of the last launch."""
        return machine_code_hash(self._last.kernel.compiled)

    @property
    def loops(self) -> list[LoopWork]:
        """Of the Triton kernels of the last launch."""
        if not self._last.kernel.compiled:
            return []
        from kernels.compiled_loops import loops_of  # with Triton, which only some points need

        return loops_of(self._last.kernel.compiled)

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
        """Holds so many sets, each of values of its own, and starts at the first. Raises TooLittleMemory."""
        del self._sets[sets:]
        while len(self._sets) < sets:
            self._sets.append(self._make_set(len(self._sets)))
        for s in self._sets:
            s.launches = 0
        self._forget()
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
        try:
            self._last.result = self._last.kernel.run()
        except BaseException:
            self._tampered()  # no check follows, and the next point is another's
            raise
        return self._last.result

    def refill(self) -> None:
        """Draws a set, which the next launch takes, and gives its operands other values in place: for what a launch computes from now on.

        Where memory does not hold the values a second time, the old ones stay, and `fresh_inputs` is False.
        """
        self._forget()
        self._checked = drawn = secrets.choice(self._sets)
        self._next = self._sets.index(drawn)
        seed = drawn.seed + OTHER_VALUES
        try:
            with memory_errors():
                given = replace(self._make_inputs(seed), out=None)
        except TooLittleMemory:
            self.fresh_inputs = False
            return
        if not self.updates:
            self._before = copy_of(drawn.result)
        drawn.refill(given)
        drawn.seed = seed
        if self._op.works_beforehand(self._shape):
            drawn.kernel = self._build(drawn.inputs)
        self.fresh_inputs = self.fresh_inputs is not False

    def _forget(self) -> None:
        for s in self._sets:
            s.given = None
        self._checked, self._kept, self._before, self._changed = None, [], None, False

    def keep(self) -> None:
        """Copies what the drawn set returned, at once: what is computed after a call has returned is not in the copy. Its turn is next."""
        drawn = self._checked or self._last
        self._kept.append(copy_of(drawn.result))
        self._changed = self._changed or not correctness.same_bits(*drawn.constants())
        self._next = self._sets.index(drawn)

    def poison(self) -> None:
        """Fills every output with NaN, so that an element that nobody writes is seen, and puts back what launches have updated."""
        for s in self._sets:
            correctness.poison(s.inputs, s.result)
        if self.updates:
            drawn = self._checked or self._last
            drawn.restore(drawn.given or self._make_inputs(drawn.seed))
            self._next = self._sets.index(drawn)

    def verify(self) -> Verdict:
        """The worst verdict on all that was kept since `refill`, or on what the last launch wrote: the reference is computed only now,
        when no launch can read it. A graph writes what its last captured launch returned."""
        drawn = self._checked or self._last
        if not self._kept:
            self.keep()
        verdict = self._tampered()
        if verdict is None:
            with memory_errors("while comparing with the fp64 reference: "):
                verdict = self._judge(drawn)
            verdict = self._tampered() or verdict  # by a thread that goes on, while the reference was computed
        self._forget()
        return verdict

    def _judge(self, drawn: BufferSet) -> Verdict:
        verdict = correctness.formed(self._op, self._shape, drawn.result, drawn.inputs)
        if verdict or any(kept is None for kept in self._kept):
            return verdict or Verdict(math.inf, "nothing was run")
        if self._changed:
            return Verdict(math.inf, "a launch changed an operand that it may only read", correctness.INPUTS_CHANGED)
        operands = drawn.inputs.operands
        if drawn.given:
            operands = drawn.given.operands
        elif self.updates:
            operands = self._make_inputs(drawn.seed).operands
        verdict = correctness.compare_all(self._op, self._shape, self._kept, operands)
        return verdict if verdict.ok else replace(verdict, cause=self._cause(drawn))

    def _cause(self, drawn: BufferSet) -> str | None:
        """How a kernel came by values that are wrong, where that shows."""
        sleep(LATE_S)
        if self._device == "cuda":
            synchronize()
        if not correctness.same_bits(*map(correctness.tensors, (self._kept[-1], drawn.result))):
            return correctness.UNFINISHED
        stored = self._before is not None and any(
            correctness.same_bits(*map(correctness.tensors, (kept, self._before))) for kept in self._kept
        )
        return correctness.CACHED if stored else None

    def _tampered(self) -> Verdict | None:
        """What the kernel replaced or set that is not its own, which is undone; what imported code had replaced before stays."""
        found, names = integrity.replaced(), integrity.changed(self._settings)
        integrity.put_back([name for name in found if name not in self._replaced_before])
        integrity.set_back(self._settings, names)
        if found:
            when = "before the point was measured, by imported code" if self._replaced_before else "while the point was measured"
            return Verdict(math.inf, f"{found[0]} was replaced {when}: the suite's checks and clocks rely on it", correctness.PATCHED)
        if names:
            return Verdict(math.inf, f"the kernel changed {', '.join(names)} for the whole process", correctness.SETTINGS)
        return None
