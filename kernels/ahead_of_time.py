"""Compiles Triton kernels for a GPU that is not there, and judges each by its machine code."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import triton
from triton._C.libtriton import get_cache_invalidating_env_vars
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.compiler.errors import CompilationError
from triton.runtime.cache import get_cache_key
from triton.runtime.jit import JITFunction

from kernels import finding_cache, interpreter, machine_code_cache
from kernels.code_rules import (
    dot_precisions,
    judge,
    judge_dots,
    judge_wait,
    judge_warps,
    requested_wait,
    specialises_warps,
    unsupported,
)
from kernels.compilation import ALIGNMENT, Compilation, Function, innermost
from kernels.gpus import Gpu
from kernels.kernel_bound import Occupancy, bound, occupancy
from kernels.loop_work import Bound
from kernels.machine_code import MachineCode, number

WARP = 32  # threads


@dataclass(frozen=True)
class Cubin:
    """One compilation and what the compiler made of it."""

    compilation: Compilation
    elf: bytes
    shared_bytes: int  # a block
    seconds: float  # that compiling took
    warps: int  # of a block, those among them that Triton adds to what was asked for: warps that only load
    dots: tuple[str, ...] = ()  # the precisions that its `tl.dot`s multiply in
    wait_depth: int | None = None  # groups of warpgroup products that Triton lets run on where it waits; None: it never waits
    specialises: bool = False  # asked for warps that only load
    entry: Path | None = None  # where its verdict is kept


@dataclass(frozen=True)
class Finding:
    """One compilation and its verdict. `reasons` is empty where it passed."""

    compilation: Compilation
    status: str  # pass, fail, or unsupported: see `unsupported`
    reasons: list[str] = field(default_factory=list)
    code: MachineCode | None = None
    seconds: float = 0.0  # that compiling took
    occupancy: Occupancy | None = None
    bound: Bound | None = None


def compile_for(compilation: Compilation, capability: tuple[int, int]) -> Any:
    """Triton's compiled kernel, ahead of time."""
    source, target, options = request(compilation, capability)
    return triton.compile(source, target=target, options=options)


def compilers_key(compilation: Compilation, capability: tuple[int, int]) -> str:
    """Triton's own key of a compilation: the kernel's source with all that it calls, types, constants, options, Triton and ptxas."""
    source, target, options = request(compilation, capability)
    backend = make_backend(target)
    return get_cache_key(source, backend, backend.parse_options(options), get_cache_invalidating_env_vars())


def request(compilation: Compilation, capability: tuple[int, int]) -> tuple[ASTSource, GPUTarget, dict[str, Any]]:
    """What Triton is asked to compile, for what, and with which options."""
    kernel = jitted(compilation.kernel, compilation.file)
    names = kernel.arg_names
    constexprs = {k: jitted(v.name, compilation.file) if isinstance(v, Function) else v for k, v in compilation.constexprs.items()}
    paths = [(names.index(argument),) if isinstance(argument, str) else argument for argument in compilation.aligned]
    source = ASTSource(kernel, dict(compilation.signature), constexprs, {path: [["tt.divisibility", ALIGNMENT]] for path in paths})
    options = {"num_warps": compilation.num_warps, "num_stages": compilation.num_stages, **compilation.options}
    return source, GPUTarget("cuda", number(capability), WARP), options


def jitted(name: str, file: str = "") -> Any:
    """The jitted function "module:function", without the autotuner and the heuristics around it. One that its module leaves undecorated, so
    that the module loads without Triton, is decorated here.

    file: that of the module, which is loaded under its name where no such module is found.
    """
    module = name.partition(":")[0]
    if file and module not in sys.modules and not _on_the_path(module):
        spec = spec_from_file_location(module, file)
        assert spec is not None  # a file that another process has imported
        assert spec.loader is not None
        sys.modules[module] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[module])
    found = innermost(resolve_name(name))
    return found if isinstance(found, JITFunction) else triton.jit(found)


def _on_the_path(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its package is missing
        return False


def entry_of(compilation: Compilation, gpu: Gpu) -> Path | None:
    """The file that keeps the verdict on a compilation; None where none may be kept, or where Triton cannot describe the compilation, whose
    reason shows when it is compiled."""
    if triton.knobs.compilation.always_compile or triton.knobs.compilation.override:
        return None
    try:
        asked = compilers_key(compilation, gpu.compute_capability)
    except Exception:  # a kernel of somebody else may raise anything
        return None
    return finding_cache.entry(asked, compilation, gpu)


def known(compilation: Compilation, gpu: Gpu) -> Finding | None:
    """The verdict that needs no compiler: what is not supported, and what was judged before. None where it must be compiled."""
    if why := unsupported(compilation, gpu.compute_capability):
        return Finding(compilation, "unsupported", [why])
    entry = entry_of(compilation, gpu)
    kept = finding_cache.load(entry) if entry else None
    return Finding(compilation, **kept) if kept else None


def build(compilation: Compilation, gpu: Gpu) -> Cubin | Finding:
    """Compiles. Where there is no cubin, the verdict; a compiler's error is a failure with its first line as the reason."""
    if why := unsupported(compilation, gpu.compute_capability):
        return Finding(compilation, "unsupported", [why])
    start, entry = time.perf_counter(), entry_of(compilation, gpu)
    try:
        compiled = compile_for(compilation, gpu.compute_capability)
    except Exception as error:  # whatever a compiler raises is what this command is there to show
        return Finding(compilation, "fail", [f"does not compile: {_compilers_reason(error)}"])
    seconds, ttir, ptx = time.perf_counter() - start, compiled.asm["ttir"], compiled.asm["ptx"]
    dots, wait_depth, specialises = dot_precisions(ttir), requested_wait(ptx), specialises_warps(ttir)
    metadata = compiled.metadata
    return Cubin(compilation, compiled.asm["cubin"], metadata.shared, seconds, metadata.num_warps, dots, wait_depth, specialises, entry)


def examine(built: Sequence[Cubin | Finding], gpu: Gpu) -> list[Finding]:
    """Disassembles and judges the cubins; a verdict that is there already stays."""
    cubins = [one for one in built if isinstance(one, Cubin)]
    try:
        read = machine_code_cache.read([(cubin.elf, cubin.shared_bytes) for cubin in cubins], gpu.compute_capability)
        codes = dict(zip(map(id, cubins), read, strict=True))
    except (subprocess.CalledProcessError, ValueError, struct.error) as error:
        if len(built) == 1:
            return [Finding(cubins[0].compilation, "fail", [f"cannot be disassembled: {_first_line(error)}"])]
        return [finding for one in built for finding in examine([one], gpu)]  # which shows whose code it is
    return [one if isinstance(one, Finding) else _verdict(one, codes[id(one)], gpu) for one in built]


def _verdict(cubin: Cubin, code: MachineCode, gpu: Gpu) -> Finding:
    reasons = judge(cubin.compilation, code, gpu)
    reasons += judge_wait(cubin.compilation, cubin.wait_depth, code) + judge_warps(cubin.specialises, code)
    if cubin.compilation.expects == "recorded":
        reasons += judge_dots(cubin.dots, cubin.compilation.precision, code)
    held = occupancy(code.registers, code.shared_bytes, cubin.warps, gpu)
    best = bound(code.loop, cubin.compilation.num_warps, held.blocks, cubin.compilation.precision, gpu) if code.loop and held else None
    finding = Finding(cubin.compilation, "fail" if reasons else "pass", reasons, code, cubin.seconds, held, best)
    if cubin.entry:
        finding_cache.store(cubin.entry, finding)
    return finding


def _compilers_reason(error: Exception) -> str:
    """Where in the innermost function, and what: Triton's compiler wraps the error of a called function in one of the call."""
    while isinstance(error.__cause__, CompilationError):
        error = error.__cause__
    if not isinstance(error, CompilationError):
        return _first_line(error)
    where = _first_line(error).rstrip(":")
    return f"{where}: {error.error_message.splitlines()[0]}" if error.error_message else where


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


Progress = Callable[[Iterable[Cubin | Finding]], Iterable[Cubin | Finding]]


def examine_all(compilations: list[Compilation], gpu: Gpu, jobs: int, progress: Progress = iter) -> list[Finding]:
    """In the order given. What was not judged before is compiled in `jobs` processes, fresh ones because the compiler is not safe to fork.
    `progress` wraps the compilations."""
    findings = {place: found for place, one in enumerate(compilations) if (found := known(one, gpu))}
    new = [place for place in range(len(compilations)) if place not in findings]
    if not new:
        list(progress(findings.values()))
        return list(findings.values())
    jobs = min(jobs, len(new))
    # Each process reads the rules' source as it imports them: an edit made while it compiles is not what it judges by.
    with interpreter.off_in_children(), ProcessPoolExecutor(jobs, get_context("spawn"), finding_cache.rules) as pool:
        compiled = pool.map(build, [compilations[place] for place in new], [gpu] * len(new))
        built = list(progress(chain(findings.values(), compiled)))[len(findings) :]
        size = -(-len(built) // jobs)
        batches = [built[i : i + size] for i in range(0, len(built), size)]
        judged = [finding for batch in pool.map(examine, batches, [gpu] * len(batches)) for finding in batch]
    findings |= zip(new, judged, strict=True)
    return [findings[place] for place in range(len(compilations))]
