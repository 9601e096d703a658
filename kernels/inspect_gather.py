"""Which Triton kernels `inspect` compiles: each `compilations()` entry of the shipped implementations, and what imported ones launch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from importlib import import_module

from kernels.compilation import Compilation, compiling_for
from kernels.example_launches import launches_of
from kernels.gpus import Gpu
from kernels.op import Dims, Impl, Op, code_name
from kernels.registry import is_shipped


def gather(ops: Iterable[Op], only: list[str] | None = None, gpu: Gpu | None = None) -> list[Compilation]:
    """The compilations that the ops' Triton modules list for a GPU (None: the default one). only: keep those of "op:precision:config"."""
    with compiling_for(gpu):
        found = [replace(c, impl=impl.name) for _, impl, listed in triton_modules(ops) if listed for c in listed()]
    return [c for c in found if _wanted(c, only)]


def _wanted(compilation: Compilation, only: list[str] | None) -> bool:
    """By its config; a recorded launch by its implementation, since its config is known once it has launched."""
    which = compilation.impl if compilation.expects == "recorded" else compilation.config
    return only is None or f"{compilation.op}:{compilation.precision}:{which}" in only


def gather_launches(
    ops: Iterable[Op], gpu: Gpu, only: list[str] | None = None, dims: Dims | None = None
) -> tuple[list[Compilation], list[str]]:
    """What the ops' Triton implementations outside this repository launch, and a line for each whose launches cannot be recorded."""
    found, failures = [], []
    with compiling_for(gpu):
        for op in ops:
            for impl in op.impls.values():
                if impl.language == "triton" and not is_shipped(impl):
                    launches, lines = launches_of(op, impl, gpu, dims)
                    found += [c for c in launches if _wanted(c, only)]
                    failures += lines
    return found, failures


def unlisted(ops: Iterable[Op]) -> list[str]:
    """A line for each Triton implementation whose module has no `compilations`."""
    return [
        f"FAIL {op.name}-{impl.name}: {_module(impl)} has no compilations(), so it cannot be compiled here: add that function, "
        "as in kernels/elementwise/triton_impl.py"
        for op, impl, listed in triton_modules(ops)
        if not listed
    ]


def triton_modules(ops: Iterable[Op]) -> Iterator[tuple[Op, Impl, Callable[[], Iterable[Compilation]] | None]]:
    """Each shipped Triton implementation with its module's `compilations`, if it has one; the first of those that share a module."""
    met = set()
    for op in ops:
        for impl in op.impls.values():
            if impl.language == "triton" and is_shipped(impl) and _module(impl) not in met:
                met.add(_module(impl))
                yield op, impl, getattr(import_module(_module(impl)), "compilations", None)


def _module(impl: Impl) -> str:
    return code_name(impl.build).partition(":")[0]
