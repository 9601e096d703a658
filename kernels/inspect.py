"""`python -m kernels inspect`: every Triton kernel, compiled for a GPU on a machine without one, and the verdict on its machine code.

What is compiled: each `compilations()` entry of the shipped implementations, and what imported ones launch.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from rich.progress import track

from kernels.ahead_of_time import Finding, Progress, examine_all
from kernels.compilation import Compilation, compiling_for
from kernels.console import open_console
from kernels.example_launches import launches_of
from kernels.gpus import Gpu
from kernels.inspect_report import table, to_json
from kernels.op import Dims, Impl, Op, code_name
from kernels.registry import is_shipped
from kernels.writing import write_text


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


def compiling_progress(gpu: Gpu, total: int) -> Progress:
    """Shows on a terminal how many of so many compilations are done."""
    console = open_console(error=True)
    text = f"compiling for {gpu.name}"
    return lambda built: track(built, text, total=total, console=console, transient=True, disable=not console.is_terminal)


def run(
    ops: Iterable[Op], gpu: Gpu, jobs: int, json_file: Path | None, only: list[str] | None = None, dims: Dims | None = None
) -> tuple[int, list[Finding]]:
    """Prints the table and the summary, writes the JSON; 0 where everything passed, else 1, and the findings. dims: those of recorded
    launches."""
    ops = list(ops)
    launches, failures = gather_launches(ops, gpu, only, dims)
    compilations = gather(ops, only, gpu) + launches
    missing = failures + (unlisted(ops) if only is None else [])
    findings = examine_all(compilations, gpu, jobs, compiling_progress(gpu, len(compilations)))
    if json_file:
        write_text(json_file, json.dumps(to_json(findings, gpu), indent=1) + "\n")
    console = open_console(width=None if sys.stdout.isatty() else 190)
    console.print(table(findings, gpu))
    count = Counter(f.status for f in findings)
    for finding in findings:
        if finding.status == "fail" or finding.compilation.problem:
            verdict = "FAIL" if finding.status == "fail" else finding.status
            console.print(
                f"{verdict} {finding.compilation.id}: {'; '.join(finding.reasons)}", markup=False, highlight=False, soft_wrap=True
            )
    for line in missing:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    unsupported = f", {count['unsupported']} unsupported" if count["unsupported"] else ""
    console.print(f"{gpu.name}: {len(findings)} compilations, {count['pass']} passed, {count['fail']} failed{unsupported}", highlight=False)
    return 1 if count["fail"] or missing else 0, findings
