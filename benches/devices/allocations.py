"""What a call allocates on the CPU, counted in two ways: all that PyTorch's allocator hands out, and what tensors hold of it.

The difference is scratch: memory that kernels below the operators take and give back, as oneDNN does to pack the operands of a bf16
product, and which depends on the CPU's instruction set and on the number of threads. Memory that a library takes from malloc is not seen.
"""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch.autograd.profiler import profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

T = TypeVar("T")
MEMORY = "[memory]"  # what Kineto calls such events

os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # or each start and stop prints a line


@dataclass(frozen=True)
class Allocations:
    """Bytes: what was allocated and not released when the call ended, and the most that was held at once."""

    net_bytes: int
    peak_bytes: int


def allocated(call: Callable[[], T]) -> tuple[T, Allocations]:
    """The call's result, and what PyTorch's CPU allocator handed out, to the byte: its profiler reports every allocation and release."""
    gc.collect()  # or tensors that earlier work left in reference cycles would be released while the call is watched
    with profile(profile_memory=True) as profiled:
        result = call()
    events = [e for e in profiled.kineto_results.events() if e.name() == MEMORY]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return result, Allocations(held, peak)


def held_by_tensors(call: Callable[[], T]) -> tuple[T, Allocations]:
    """The call's result, and what the tensors held that its operators returned, to the byte, each storage once.

    Not for a call of torch.compile, which would run its operators one by one instead.
    """
    with TensorMemory() as memory:
        result = call()
    return result, Allocations(memory.held_bytes, memory.peak_bytes)


class TensorMemory(TorchDispatchMode):
    """Counts the storages of the tensors that operators return, from the operator that made them until the last tensor is gone.

    Tensors that an operator makes for itself and drops before it returns are its scratch, and are not counted.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Returns False: nothing is compiled here, and PyTorch would import its compiler, which takes two seconds, to leave it out."""
        return False

    def __init__(self) -> None:
        super().__init__()
        self.held_bytes = 0
        self.peak_bytes = 0
        self._bytes: dict[int, int] = {}  # of each storage that was made here and is alive

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        before = {key: storage.nbytes() for key, storage in storages((args, kwargs)).items()}
        result = func(*args, **(kwargs or {}))
        for key, storage in storages((args, kwargs, result)).items():
            grown = storage.nbytes() - before.get(key, self._bytes.get(key, 0))  # an operand grows where it is resized
            if grown:
                self._hold(key, storage, grown)
        return result

    def _hold(self, key: int, storage: torch.UntypedStorage, grown: int) -> None:
        if key not in self._bytes:
            weakref.finalize(storage, self._release, key).atexit = False
        self._bytes[key] = self._bytes.get(key, 0) + grown
        self.held_bytes += grown
        self.peak_bytes = max(self.peak_bytes, self.held_bytes)

    def _release(self, key: int) -> None:
        self.held_bytes -= self._bytes.pop(key)


def storages(values: Any) -> dict[int, torch.UntypedStorage]:
    """The memory behind all tensors in nested tuples, lists and dicts, by address of the storage. Sparse and meta tensors have none."""
    tensors = (t for t in tree_leaves(values) if isinstance(t, torch.Tensor) and t.layout is torch.strided and not t.is_meta)
    return {storage._cdata: storage for storage in (t.untyped_storage() for t in tensors)}
