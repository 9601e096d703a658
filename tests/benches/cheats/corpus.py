"""Kernels that pretend to compute a product, each in its own way. Their builds take (point, inputs) as any implementation's does.

State that outlives a build lies in module variables, as in somebody's file, and is emptied by `forget`.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import torch

from benches import correctness
from kernels.op import Inputs, Kernel, Point

_stored: dict[Any, torch.Tensor] = {}


def forget() -> None:
    _stored.clear()


def _stores(key: Callable[[torch.Tensor, torch.Tensor], Any]) -> Callable[[Point, Inputs], Kernel]:
    """A kernel that computes once for each key of its operands."""

    def build(point: Point, inputs: Inputs) -> Kernel:
        a, b = inputs.operands

        def run() -> torch.Tensor:
            k = key(a, b)
            if k not in _stored:
                _stored[k] = a @ b
            return _stored[k]

        return Kernel(run)

    return build


cached_by_pointer = _stores(lambda a, b: (a.data_ptr(), b.data_ptr()))
cached_by_shape = _stores(lambda a, b: (a.shape, b.shape))
cached_by_version = _stores(lambda a, b: (id(a), a._version, id(b), b._version))


def copied_from_store(point: Point, inputs: Inputs) -> Kernel:
    """The stored product is out of reach of what fills outputs with NaN: a copy of it is returned."""
    a, b = inputs.operands

    def run() -> torch.Tensor:
        if a.data_ptr() not in _stored:
            _stored[a.data_ptr()] = a @ b
        return inputs.out.copy_(_stored[a.data_ptr()])

    return Kernel(run)


def computed_at_build(point: Point, inputs: Inputs) -> Kernel:
    a, b = inputs.operands
    product = a @ b
    return Kernel(lambda: inputs.out.copy_(product))


def weights_prepared_at_build(point: Point, inputs: Inputs) -> Kernel:
    """Work that depends on an operand's values belongs to the call."""
    a, b = inputs.operands
    prepared = b.clone()
    return Kernel(lambda: torch.matmul(a, prepared, out=inputs.out))


def first_calls_only(point: Point, inputs: Inputs) -> Kernel:
    a, b = inputs.operands
    calls = 0

    def run() -> torch.Tensor:
        nonlocal calls
        calls += 1
        return torch.matmul(a, b, out=inputs.out) if calls <= 6 else inputs.out

    return Kernel(run)


def first_set_only(point: Point, inputs: Inputs) -> Kernel:
    """Every set gives the product of the first one's operands."""
    a, b = _first.setdefault("operands", inputs.operands)
    return Kernel(lambda: torch.matmul(a, b, out=inputs.out))


_first: dict[str, Any] = {}


def every_second_call(point: Point, inputs: Inputs) -> Kernel:
    a, b = inputs.operands
    calls = 0

    def run() -> torch.Tensor:
        nonlocal calls
        calls += 1
        return torch.matmul(a, b, out=inputs.out) if calls % 2 else inputs.out

    return Kernel(run)


def only_over_nan(point: Point, inputs: Inputs) -> Kernel:
    """It computes where the output looks as it does before a check."""
    a, b = inputs.operands
    inputs.out.fill_(torch.nan)
    return Kernel(lambda: torch.matmul(a, b, out=inputs.out) if inputs.out[0, 0].isnan() else inputs.out)


def half_of_the_rows(point: Point, inputs: Inputs) -> Kernel:
    a, b = inputs.operands
    half = point.dims["m"] // 2

    def run() -> torch.Tensor:
        torch.matmul(a[:half], b, out=inputs.out[:half])
        return inputs.out

    return Kernel(run)


def lower_precision(point: Point, inputs: Inputs) -> Kernel:
    a, b = inputs.operands
    return Kernel(lambda: inputs.out.copy_(a.bfloat16() @ b.bfloat16()))


class Later(torch.Tensor):
    """A tensor that computes when it is read."""

    work: Callable[[], torch.Tensor]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            real = tuple(t.work() if isinstance(t, Later) else t for t in args)
            return func(*real, **(kwargs or {}))


def lazy_subclass(point: Point, inputs: Inputs) -> Kernel:
    a, b = inputs.operands

    def run() -> torch.Tensor:
        later = inputs.out.as_subclass(Later)
        later.work = lambda: a @ b
        return later

    return Kernel(run)


class Promise:
    """Looks like a tensor, and computes at its first use."""

    def __init__(self, work: Callable[[], torch.Tensor]):
        self._work = work

    def __getattr__(self, name: str) -> Any:
        return getattr(self._work(), name)


def lazy_object(point: Point, inputs: Inputs) -> Kernel:
    a, b = inputs.operands
    return Kernel(lambda: Promise(lambda: a @ b))


def lazy_sign(point: Point, inputs: Inputs) -> Kernel:
    """The change of sign is left to whoever reads the result."""
    a, b = inputs.operands
    return Kernel(lambda: torch._neg_view(torch.matmul(-a, b)))


def another_thread(point: Point, inputs: Inputs) -> Kernel:
    """The call returns at once; the product is there a little later."""
    a, b = inputs.operands

    def work() -> None:
        _later.wait()
        torch.matmul(a, b, out=inputs.out)

    def run() -> torch.Tensor:
        thread = threading.Thread(target=work)
        _threads.append(thread)
        thread.start()
        return inputs.out

    return Kernel(run)


_threads: list[threading.Thread] = []
_later = threading.Event()


def join() -> None:
    """Lets all threads end, and waits until they have."""
    _later.set()
    while _threads:
        _threads.pop().join()
    _later.clear()


def inputs_made_easy(point: Point, inputs: Inputs) -> Kernel:
    """Operands of zeros have a product of zeros."""
    a, _ = inputs.operands

    def run() -> torch.Tensor:
        a.zero_()
        return inputs.out.zero_()

    return Kernel(run)


def inputs_swapped(point: Point, inputs: Inputs) -> Kernel:
    """The product is right, and an operand is left in another order than it was found in."""
    a, b = inputs.operands

    def run() -> torch.Tensor:
        torch.matmul(a, b, out=inputs.out)
        a.copy_(a.flip(0))
        return inputs.out

    return Kernel(run)


def operand_returned(point: Point, inputs: Inputs) -> Kernel:
    return Kernel(lambda: inputs.operands[0])


def reference_read(point: Point, inputs: Inputs) -> Kernel:
    """Looks for the fp64 reference among everything that Python holds."""

    def run() -> torch.Tensor:
        for held in gc.get_objects():
            if type(held) is torch.Tensor and held.dtype == torch.float64 and held.shape == inputs.out.shape:
                return inputs.out.copy_(held)
        return inputs.out

    return Kernel(run)


def _replaces(owner: Any, name: str, by: Callable[..., Any]) -> Callable[[Point, Inputs], Kernel]:
    """A kernel that computes nothing, once it has replaced what would show it."""

    def build(point: Point, inputs: Inputs) -> Kernel:
        def run() -> torch.Tensor:
            setattr(owner, name, by)
            return inputs.out

        return Kernel(run)

    return build


patched_clock = _replaces(time, "perf_counter_ns", lambda: 0)
patched_product = _replaces(torch.Tensor, "__matmul__", lambda a, b: torch.zeros(()))
patched_widening = _replaces(torch.Tensor, "double", lambda t: torch.zeros(t.shape, dtype=torch.float64))
patched_where = _replaces(torch, "where", lambda *a: torch.zeros(()))
patched_event = _replaces(torch.cuda.Event, "elapsed_time", lambda start, end: 1e-6)
patched_check = _replaces(correctness, "compare", lambda *a: correctness.Verdict(0.0))


def _sets(name: str, change: Callable[[], Any]) -> Callable[[Point, Inputs], Kernel]:
    """A right kernel that changes a setting for the whole process."""

    def build(point: Point, inputs: Inputs) -> Kernel:
        change()
        a, b = inputs.operands
        return Kernel(lambda: torch.matmul(a, b, out=inputs.out))

    return build


more_threads = _sets("threads", lambda: torch.set_num_threads(torch.get_num_threads() + 1))
coarser_products = _sets("precision", lambda: torch.set_float32_matmul_precision("medium"))
other_dtype = _sets("dtype", lambda: torch.set_default_dtype(torch.float64))
