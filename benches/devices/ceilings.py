"""What a CPU reaches at best, measured as a run starts: matmul FLOP/s per precision, bandwidths of memory and caches, calls' times.

A fraction of a CPU's data-sheet peak would say little (threads, vector width and clock differ by machine); a fraction of what its own
best kernel reached a minute ago says something.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benches.devices.cores import SYSTEM_CPUS, allowed_cpus, cpus_of
from benches.devices.tensors import TensorWorkload
from kernels.gpus import CacheLevel, Ceilings
from kernels.precisions import PRECISIONS
from kernels.registry import OPS

# Batch, size, layout: PyTorch sends batches, single products and transposed operands to different kernels, and where a CPU lacks units
# for a precision the small ones are the fast ones.
SHAPES = (
    (8, 128, "nt"),
    (8, 128, "nn"),
    (1, 128, "nt"),
    (1, 128, "nn"),
    (1, 256, "nn"),
    (1, 512, "nn"),
    (1, 1024, "nn"),
    (1, 2048, "nn"),
)
ENOUGH_S = 0.15  # a call this long is no longer overhead: larger sizes would find the same rate
# Nor is one this long, several times what threads lose to other processes at a barrier (8 ms on 2 busy cores, November 2026): where it
# reaches less than half of the best rate, larger sizes do not catch up.
SLOWER_S = 0.03
REPEATS = 5
AT_LEAST_S = 0.2  # of short calls, more repeats: on a busy machine most of them lose a core for a while
COPY_BYTES = 256 * 2**20  # several times the last-level cache of any one CPU socket's usual size
FIRST_LEVEL = 2  # PyTorch's call takes longer than a copy within a first-level cache
FILLED = 2  # a copy within a cache holds one byte of so many: the other operators' data and the system take some
APART = 1.1  # times the bandwidth of what lies behind, from which a cache is told apart from it
LAYERS = 4  # of the model whose operators are timed
CALLS = 200  # of an operator, timed together: one is not much longer than reading the clock
VECTOR_PRECISIONS = ("fp32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2")  # no TF32 on a CPU


def best_s(call: Callable[[], object]) -> float:
    """Seconds of the fastest call after a warm-up: a ceiling is a best case."""
    call()
    best, calls, begin = float("inf"), 0, time.perf_counter()
    while calls < REPEATS or time.perf_counter() - begin < AT_LEAST_S:
        start = time.perf_counter_ns()
        call()
        best = min(best, (time.perf_counter_ns() - start) / 1e9)
        calls += 1
    return best


def peak_flops_per_s(precision: str) -> float:
    """Best matmul rate over the shapes, the small ones first, until a larger one would find no more."""
    op, best = OPS["matmul"], 0.0
    fp8 = PRECISIONS[precision].bytes == 1
    for batch, size, layout in SHAPES:
        if fp8 and batch > 1:
            continue  # torch._scaled_mm is 2-D
        dims = {"m": size, "n": size, "k": size} | ({"b": batch} if batch > 1 else {})
        point = op.point("torch", precision, dims, {"layout": "nt" if fp8 else layout})
        seconds = best_s(TensorWorkload(point, point, "cpu", seed=0).launch)
        rate = op.cost(point, "cpu").flops / seconds
        best = max(best, rate)
        if batch == 1 and (seconds > ENOUGH_S or (seconds > SLOWER_S and rate < best / 2)):
            break
    return best


def bandwidth(working_set_bytes: int) -> float:
    """Bytes read and written a second by the faster of a copy and a sum of two tensors, whose tensors take `working_set_bytes` together."""
    elements = working_set_bytes // 4
    source, target = torch.zeros(elements // 2), torch.empty(elements // 2)
    first, second, result = torch.zeros(elements // 3), torch.zeros(elements // 3), torch.empty(elements // 3)
    copy_s = best_s(lambda: target.copy_(source))
    sum_s = best_s(lambda: torch.add(first, second, out=result))
    return max(8 * len(source) / copy_s, 12 * len(first) / sum_s)


def alone(working_set_bytes: int) -> float:
    """As `bandwidth`, of a single thread: threads that begin and end together wait for one another longer than a copy within a private
    cache takes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return bandwidth(working_set_bytes)
    finally:
        torch.set_num_threads(threads)


def cache_bytes(cpus: Collection[int], caches: Path = SYSTEM_CPUS) -> dict[int, list[int]]:
    """Bytes by level, from the second on, of each cache that these CPUs have, a shared one once. Empty where none is listed."""
    found: dict[tuple[int, str], int] = {}
    for cpu in cpus:
        for index in sorted(caches.glob(f"cpu{cpu}/cache/index*")):
            try:
                level, kind, size, shared = (
                    (index / name).read_text(encoding="utf-8").strip() for name in ("level", "type", "size", "shared_cpu_list")
                )
                if int(level) >= FIRST_LEVEL and kind != "Instruction":
                    found[int(level), shared] = int(size.removesuffix("K")) * 1024
            except (OSError, ValueError):  # a machine that describes a cache otherwise has this one not measured
                continue
    return {level: [size for (other, _), size in found.items() if other == level] for level in sorted({level for level, _ in found})}


def cache_levels(
    sizes: Mapping[int, Sequence[int]],
    behind: float,
    threads: int,
    together: Callable[[int], float] = bandwidth,
    private: Callable[[int], float] = alone,
) -> tuple[CacheLevel, ...]:
    """Caches of these bytes by level, with their bandwidth for all threads together, the smallest first.

    `behind`: the memory's bandwidth. Where each thread has a cache of its own, one is measured by a thread alone and counts as often as
    there are threads. A cache that is not APART from what lies behind it is left out: the data in it count as lying there.
    """
    found: list[CacheLevel] = []
    for level, each in sorted(sizes.items(), reverse=True):
        own = len(each) == threads > 1
        rate = threads * private(min(each) // FILLED) if own else together(sum(each) // FILLED)
        if rate > APART * behind:
            found.insert(0, CacheLevel(name=f"L{level}", bytes=sum(each), bandwidth_bytes_per_s=rate))
            behind = rate
    return tuple(found)


def call_s() -> float:
    """Seconds of an operator's call that computes nearly nothing: Python, dispatch, checks."""
    one, result = torch.zeros(1), torch.empty(1)

    def calls() -> None:
        for _ in range(CALLS):
            torch.add(one, one, out=result)

    return best_s(calls) / CALLS


class Counted(TorchDispatchMode):
    """Counts the operators that PyTorch calls within it, views among them."""

    operators = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operators += 1
        return func(*args, **(kwargs or {}))


def step_call_s() -> float:
    """Seconds of an operator among many: in a training step, with its optimizer, of a model that computes nearly nothing. Autograd, modules
    and the optimizer's Python take several times an operator's own call."""
    model = torch.nn.Sequential(*(torch.nn.Linear(1, 1, bias=False) for _ in range(LAYERS)))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    given = torch.zeros(1, 1)

    def step() -> None:
        model(given).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()  # which makes the state
    with Counted() as counted:
        step()
    return best_s(step) / counted.operators


def measure_ceilings() -> Ceilings:
    """About ten seconds on two cores."""
    memory, threads = bandwidth(2 * COPY_BYTES), torch.get_num_threads()
    cpus = cpus_of(threads, allowed_cpus() or ())
    return Ceilings(
        peak_flops_per_s={precision: peak_flops_per_s(precision) for precision in VECTOR_PRECISIONS},
        bandwidth_bytes_per_s=memory,
        caches=cache_levels(cache_bytes(cpus), memory, threads),
        call_s=call_s(),
        step_call_s=step_call_s(),
    )
