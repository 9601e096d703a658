"""Compiles the Triton kernels for a GPU, on a machine without one, and judges the machine code.

Every `compilations()` entry of every Triton implementation is compiled for the GPU's compute capability and disassembled by the tools
that lie in triton's package. A compilation passes where it fits the GPU's shared memory, spills no register, and holds
the instruction that its precision is there for.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from itertools import accumulate
from multiprocessing import get_context
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import triton
from rich.progress import track
from rich.table import Table
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import sm_arch_from_capability
from triton.compiler import ASTSource
from triton.compiler.errors import CompilationError
from triton.runtime.jit import JITFunction

from kernels import interpreter
from kernels.compilation import ALIGNMENT, Argument, Compilation, Function, compiling_for, innermost
from kernels.console import open_console
from kernels.example_launches import launches_of
from kernels.fingerprint import digest
from kernels.gpus import Gpu
from kernels.kernel_bound import Bound, Occupancy, bound, occupancy
from kernels.machine_loop import Loop, main_loop, parse
from kernels.op import Dims, Impl, Op, code_name
from kernels.registry import is_shipped
from kernels.support import FP8_FROM, TF32_FROM, is_fp8
from kernels.writing import write_text

WARP = 32  # threads
FEW = 1 / 8  # of the bytes that a loop loads, which may be loaded in narrow pieces
TENSOR_INSTRUCTIONS = ("HGMMA", "QGMMA", "HMMA", "QMMA", "UTCHMMA", "UTCQMMA")
LOADS = ("LDGSTS", "UTMALDG", "LDG")
SHOWN = (*TENSOR_INSTRUCTIONS, "FFMA", "FFMA2", *LOADS)
OPCODE = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", re.MULTILINE)
OFFSET = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/")
REGISTERS = re.compile(r"REG:(\d+)")
STACK = re.compile(r"STACK:(\d+)")
DOT = re.compile(r"^\s*%\S+ = (tt\.dot .*: tensor<(?:\d+x)+(\w+).*)$", re.MULTILINE)
MLIR = {"f16": "fp16", "bf16": "bf16", "f8E4M3FN": "fp8_e4m3", "f8E5M2": "fp8_e5m2"}  # besides f32


@dataclass(frozen=True)
class MachineCode:
    """What the disassembly of one kernel says."""

    registers: int  # a thread
    shared_bytes: int  # a block
    instructions: dict[str, int]  # static count by mnemonic without modifiers
    wide_loads: int  # global loads of 128 bits a thread
    stack_bytes: int = 0  # a thread
    hash: str = ""  # of the instructions
    loop: Loop | None = None

    @property
    def spills(self) -> int:
        """Stores to and loads from local memory, where registers did not suffice."""
        return self.instructions.get("STL", 0) + self.instructions.get("LDL", 0)


@dataclass(frozen=True)
class Cubin:
    """One compilation and what the compiler made of it."""

    compilation: Compilation
    elf: bytes
    shared_bytes: int  # a block
    seconds: float  # that compiling took
    dots: tuple[str, ...] = ()  # the precisions that its `tl.dot`s multiply in


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


def expected_instructions(precision: str, capability: tuple[int, int]) -> tuple[str, ...]:
    """Mnemonics of which a dot in this precision must hold one. Empty where the GPU has no such units.

    HGMMA and QGMMA are Hopper's warpgroup multiplies, UTC?MMA Blackwell's; HMMA and QMMA are those of one warp. Source: "Instruction
    Set Reference" of NVIDIA's CUDA binary utilities.
    """
    if precision == "fp32":
        return ("FFMA", "FFMA2")
    fp8 = is_fp8(precision)
    if capability < (FP8_FROM if fp8 else TF32_FROM):
        return ()
    family = {9: ("HGMMA", "QGMMA"), 10: ("UTCHMMA", "UTCQMMA")}.get(capability[0], ("HMMA", "QMMA"))
    return (family[fp8],)


def unsupported(compilation: Compilation, capability: tuple[int, int]) -> str | None:
    """Why a compilation is not compiled: what the GPU has no units for, or what keeps a recorded launch from another process. Or None."""
    if compilation.problem:
        return compilation.problem
    if any("fp8" in str(kind) for kind in compilation.signature.values()) and capability < FP8_FROM:
        return "fp8 needs compute capability 8.9 or later"
    if compilation.expects == "dot" and not expected_instructions(compilation.precision, capability):
        return f"no matrix units for {compilation.precision} before compute capability 8.0"
    return None


def judge(compilation: Compilation, code: MachineCode, gpu: Gpu) -> list[str]:
    """What is wrong with the code; empty where nothing is."""
    reasons = []
    limit = gpu.shared_memory_per_block_bytes
    if code.shared_bytes > limit:
        reasons.append(f"wants {code.shared_bytes:,} bytes of shared memory; a block of {gpu.name} can have {limit:,}")
    if code.spills:
        reasons.append(f"spills registers: {code.instructions.get('STL', 0)} STL, {code.instructions.get('LDL', 0)} LDL")
    if compilation.expects == "wide" and not code.wide_loads:
        reasons.append("no 128-bit load")
    if compilation.expects == "dot":
        expected = expected_instructions(compilation.precision, gpu.compute_capability)
        if not any(code.instructions.get(name) for name in expected):
            reasons.append(f"no {' or '.join(expected)}: {compilation.precision} runs on other units")
        elif code.loop and (others := {one.name for one in code.loop.matrix} - set(expected)):
            reasons.append(f"{', '.join(sorted(others))} in the main loop: {compilation.precision} is multiplied as another format")
        if narrow := narrow_loads(compilation, code):
            reasons.append(f"{narrow} in the main loop, although operands are aligned to {ALIGNMENT} bytes")
        if compilation.precision == "fp32" and (used := [name for name in TENSOR_INSTRUCTIONS if code.instructions.get(name)]):
            reasons.append(f"{', '.join(used)}: fp32 must not be rounded for the tensor cores")
    return reasons + dropped(compilation, code)


def narrow_loads(compilation: Compilation, code: MachineCode) -> str:
    """The loads of the main loop from global memory that are narrower than 128 bits, where every argument is aligned; else empty."""
    if code.loop is None or not is_aligned(compilation) or not is_contiguous(compilation) or compilation.precision == "tf32":
        return ""  # Hopper multiplies TF32 operands along contiguous k only: Triton moves others one element at a time
    loads = {kind: n for kind, n in code.loop.loads.items() if kind.startswith(("LDG.", "LDGSTS."))}
    narrow = {kind: n for kind, n in loads.items() if not kind.endswith(".128")}
    few = loaded_bytes(narrow) <= FEW * loaded_bytes(loads)  # scales, beside the operands
    return "" if few else ", ".join(f"{n} {kind}" for kind, n in sorted(narrow.items()))


def loaded_bytes(loads: Mapping[str, int]) -> int:
    """Bytes that a thread loads: of "LDGSTS.128" 16 each."""
    return sum(n * int(kind.rpartition(".")[2]) // 8 for kind, n in loads.items())


def is_aligned(compilation: Compilation) -> bool:
    """Whether all pointers and sizes of the kernel are multiples of 16, those inside tuples as well."""
    paths: set[Argument] = set()
    for place, (name, kind) in enumerate(compilation.signature.items()):
        if isinstance(kind, tuple):
            paths |= {(place, i) for i, one in enumerate(kind) if one != "constexpr"}
        elif kind != "constexpr":
            paths.add(name)
    return paths <= set(compilation.aligned)


def is_contiguous(compilation: Compilation) -> bool:
    """Whether both operands of a product lie contiguous along a dim of their tiles; of other kernels nothing is known, which counts as so.

    A stride of 1 is a constant in the code. The names are those of kernels/matmul's kernel.
    """
    for along in (("m_a", "k_a"), ("n_b", "k_b")):
        strides = [compilation.signature[name] for name in along if isinstance(compilation.signature.get(name), tuple)]
        if strides and not any("constexpr" in of_a_group for of_a_group in strides):
            return False
    return True


def dropped(compilation: Compilation, code: MachineCode) -> list[str]:
    """What was asked of the compiler and is not in the code, though it compiled without an error."""
    reasons = []
    if compilation.constexprs.get("WARP_SPECIALIZE") and not code.instructions.get("USETMAXREG"):
        reasons.append("warp specialisation was requested, but the compiler dropped it: there is no USETMAXREG")
    asynchronous = any(code.instructions.get(name) for name in ("LDGSTS", "UTMALDG", "UBLKCP"))
    pipelined = compilation.expects == "dot" and compilation.num_stages > 1 and is_aligned(compilation)
    through_registers = code.loop and any(kind.startswith("STS.") for kind in code.loop.stores)  # fp8 that is not contiguous along k
    if pipelined and code.loop and not asynchronous and not through_registers:  # what is not aligned is too narrow to be copied so
        reasons.append(f"{compilation.num_stages} stages were requested, but the compiler dropped them: no load is asynchronous")
    return reasons


def dot_precisions(ttir: str) -> tuple[str, ...]:
    """The precisions that the products of a kernel multiply in, from Triton's first intermediate code; each once."""
    found = {("tf32" if "tf32" in line.lower() else "fp32") if kind == "f32" else MLIR.get(kind, "") for line, kind in DOT.findall(ttir)}
    return tuple(sorted(found - {""}))


def judge_dots(dots: Iterable[str], precision: str, code: MachineCode) -> list[str]:
    """What is wrong with the products of a recorded launch: those on no matrix unit (a small tile may be on those of one warp, HMMA and
    QMMA), and those that round fp32 operands. dots: the precisions that they multiply in; precision: the point's."""
    reasons = []
    if precision == "fp32" and "tf32" in dots:
        reasons.append('tl.dot rounds fp32 operands to TF32, which no CPU run shows: give it input_precision="ieee"')
    for multiplied in set(dots) - {"fp32"}:
        units = [name for name in TENSOR_INSTRUCTIONS if ("Q" in name) == is_fp8(multiplied)]
        if not any(code.instructions.get(name) for name in units):
            reasons.append(f"no {', '.join(units[:-1])} or {units[-1]}: tl.dot in {multiplied} runs on other units")
    return reasons


def read_machine_code(cubins: Sequence[Cubin], capability: tuple[int, int]) -> list[MachineCode]:
    """The machine code of each cubin. Raises CalledProcessError where a tool of triton's package cannot read one of them."""
    return [parse_machine_code(text, cubin.shared_bytes) for cubin, text in zip(cubins, disassemble(cubins, capability), strict=True)]


def disassemble(cubins: Sequence[Cubin], capability: tuple[int, int]) -> list[str]:
    """The resource usage and the instructions of each cubin, as `cuobjdump -res-usage -sass` prints them.

    cuobjdump starts nvdisasm for the instructions, and that needs half a second before it reads the first one. So here nvdisasm starts
    once, for the instructions of all cubins in one row, and its output is cut where one cubin ends and the next begins.
    """
    codes = [text_sections(cubin.elf) for cubin in cubins]
    ends = list(accumulate(map(len, codes)))
    texts = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "code")
        for cubin in cubins:
            path.write_bytes(cubin.elf)
            texts.append([_output(triton.knobs.nvidia.cuobjdump.path, "-res-usage", str(path))])
        path.write_bytes(b"".join(codes))
        architecture = sm_arch_from_capability(_number(capability)).replace("sm_", "SM")
        listing = _output(triton.knobs.nvidia.nvdisasm.path, "--binary", architecture, str(path))
    for line in listing.splitlines():
        if offset := OFFSET.match(line):
            texts[bisect_right(ends, int(offset[1], 16))].append(line)
    return ["\n".join(lines) for lines in texts]


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8", errors="replace").stdout


def _number(capability: tuple[int, int]) -> int:
    return capability[0] * 10 + capability[1]


def text_sections(elf: bytes) -> bytes:
    """The contents of the sections `.text.*` of a 64-bit little-endian ELF file, one after the other.

    Source: "ELF-64 Object File Format", figures 2 (file header) and 3 (section header).
    """
    (headers,) = struct.unpack_from("<Q", elf, 40)
    size, count, names = struct.unpack_from("<HHH", elf, 58)
    sections = [struct.unpack_from("<IIQQQQ", elf, headers + i * size) for i in range(count)]  # name, …, offset and size in the file
    strings = sections[names][4]
    return b"".join(elf[offset : offset + length] for name, *_, offset, length in sections if elf.startswith(b".text.", strings + name))


def parse_machine_code(text: str, shared_bytes: int) -> MachineCode:
    """`cuobjdump -res-usage -sass` as counts."""
    opcodes = OPCODE.findall(text)
    wide = sum(1 for name in opcodes if name.split(".")[0] in ("LDG", "LDGSTS") and "128" in name.split("."))
    registers = REGISTERS.search(text)
    if not opcodes or registers is None:
        raise ValueError("cuobjdump printed no machine code")
    stack = STACK.search(text)
    code = parse(text)
    return MachineCode(
        registers=int(registers[1]),
        shared_bytes=shared_bytes,
        instructions=dict(Counter(name.split(".")[0] for name in opcodes)),
        wide_loads=wide,
        stack_bytes=int(stack[1]) if stack else 0,
        hash=digest("\n".join(f"{one.predicate} {one.opcode} {one.operands}" for one in code).encode()),
        loop=main_loop(code),
    )


def compile_for(compilation: Compilation, capability: tuple[int, int]) -> Any:
    """Triton's compiled kernel, ahead of time."""
    kernel = jitted(compilation.kernel, compilation.file)
    names = kernel.arg_names
    constexprs = {k: jitted(v.name, compilation.file) if isinstance(v, Function) else v for k, v in compilation.constexprs.items()}
    paths = [(names.index(argument),) if isinstance(argument, str) else argument for argument in compilation.aligned]
    source = ASTSource(kernel, dict(compilation.signature), constexprs, {path: [["tt.divisibility", ALIGNMENT]] for path in paths})
    options = {"num_warps": compilation.num_warps, "num_stages": compilation.num_stages, **compilation.options}
    return triton.compile(source, target=GPUTarget("cuda", _number(capability), WARP), options=options)


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


def build(compilation: Compilation, gpu: Gpu) -> Cubin | Finding:
    """Compiles. Where there is no cubin, the verdict; a compiler's error is a failure with its first line as the reason."""
    if why := unsupported(compilation, gpu.compute_capability):
        return Finding(compilation, "unsupported", [why])
    start = time.perf_counter()
    try:
        compiled = compile_for(compilation, gpu.compute_capability)
    except Exception as error:  # whatever a compiler raises is what this command is there to show
        return Finding(compilation, "fail", [f"does not compile: {_compilers_reason(error)}"])
    dots = dot_precisions(compiled.asm["ttir"])
    return Cubin(compilation, compiled.asm["cubin"], compiled.metadata.shared, time.perf_counter() - start, dots)


def examine(built: Sequence[Cubin | Finding], gpu: Gpu) -> list[Finding]:
    """Disassembles and judges the cubins; a verdict that is there already stays."""
    cubins = [one for one in built if isinstance(one, Cubin)]
    try:
        codes = dict(zip(map(id, cubins), read_machine_code(cubins, gpu.compute_capability) if cubins else (), strict=True))
    except (subprocess.CalledProcessError, ValueError, struct.error) as error:
        if len(built) == 1:
            return [Finding(cubins[0].compilation, "fail", [f"cannot be disassembled: {_first_line(error)}"])]
        return [finding for one in built for finding in examine([one], gpu)]  # which shows whose code it is
    return [one if isinstance(one, Finding) else _verdict(one, codes[id(one)], gpu) for one in built]


def _verdict(cubin: Cubin, code: MachineCode, gpu: Gpu) -> Finding:
    reasons = judge(cubin.compilation, code, gpu)
    if cubin.compilation.expects == "recorded":
        reasons += judge_dots(cubin.dots, cubin.compilation.precision, code)
    held = occupancy(code.registers, code.shared_bytes, cubin.compilation.num_warps, gpu)
    best = bound(code.loop, cubin.compilation.num_warps, held.blocks, cubin.compilation.precision, gpu) if code.loop and held else None
    return Finding(cubin.compilation, "fail" if reasons else "pass", reasons, code, cubin.seconds, held, best)


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


Progress = Callable[[Iterable[Cubin | Finding]], Iterable[Cubin | Finding]]


def examine_all(compilations: list[Compilation], gpu: Gpu, jobs: int, progress: Progress = iter) -> list[Finding]:
    """In the order given; `jobs` processes, fresh ones because the compiler is not safe to fork. `progress` wraps the compilations."""
    with interpreter.off_in_children(), ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        built = list(progress(pool.map(build, compilations, [gpu] * len(compilations))))
        size = -(-len(built) // jobs) or 1
        batches = [built[i : i + size] for i in range(0, len(built), size)]
        return [finding for findings in pool.map(examine, batches, [gpu] * len(batches)) for finding in findings]


def run(
    ops: Iterable[Op], gpu: Gpu, jobs: int, json_file: Path | None, only: list[str] | None = None, dims: Dims | None = None
) -> tuple[int, list[Finding]]:
    """Prints the table and the summary, writes the JSON; 0 where everything passed, else 1, and the findings. dims: those of recorded
    launches."""
    ops = list(ops)
    launches, failures = gather_launches(ops, gpu, only, dims)
    compilations = gather(ops, only, gpu) + launches
    missing = failures + (unlisted(ops) if only is None else [])
    progress = open_console(error=True)
    findings = examine_all(
        compilations,
        gpu,
        jobs,
        lambda built: track(
            built,
            f"compiling for {gpu.name}",
            total=len(compilations),
            console=progress,
            transient=True,
            disable=not progress.is_terminal,
        ),
    )
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


def to_json(findings: list[Finding], gpu: Gpu) -> dict[str, Any]:
    """Plain data: for what and with what was compiled, and one flat record a compilation; null where there is no machine code."""
    return {
        "gpu": gpu.name,
        "compute_capability": list(gpu.compute_capability),
        "shared_memory_per_block_bytes": gpu.shared_memory_per_block_bytes,
        "triton": triton.__version__,
        "kernels": [record(f) for f in findings],
    }


def record(finding: Finding) -> dict[str, Any]:
    """One compilation and its verdict; `reason` is empty where it passed."""
    c, code = finding.compilation, finding.code
    return {
        "id": c.id,
        "status": finding.status,
        "reason": "; ".join(finding.reasons),
        "op": c.op,
        "impl": c.impl,
        "precision": c.precision,
        "variant": c.variant,
        "config": c.config,
        "kernel": c.kernel,
        "registers": code and code.registers,
        "spills": code and code.spills,
        "shared_bytes": code and code.shared_bytes,
        "wide_loads": code and code.wide_loads,
        "stack_bytes": code and code.stack_bytes,
        "blocks_per_sm": finding.occupancy and finding.occupancy.blocks,
        "warps_per_sm": finding.occupancy and finding.occupancy.warps,
        "occupancy_limited_by": finding.occupancy and finding.occupancy.limited_by,
        "loop": code and loop_record(code.loop),
        "bound": finding.bound and round(finding.bound.fraction, 4),
        "bound_limited_by": finding.bound and finding.bound.limited_by,
        "code_hash": code and code.hash,
        "instructions": code and {name: code.instructions[name] for name in (*SHOWN, "STL", "LDL") if name in code.instructions},
        "seconds": round(finding.seconds, 3),
    }


def loop_record(loop: Loop | None) -> dict[str, Any] | None:
    """The main loop as plain data, for one pass and one warp; null where there is none."""
    if loop is None:
        return None
    return {
        "matrix": list(loop.shapes),
        "matrix_count": len(loop.matrix),
        "multiply_adds": loop.multiply_adds,
        "instructions": len(loop.path),
        "others_each": None if loop.others is None else round(loop.others, 2),
        "wait_depth": loop.wait_depth,
        "barriers": loop.barriers,
        "loads": dict(loop.loads),
        "stores": dict(loop.stores),
    }


Column = tuple[str, Callable[[Finding, MachineCode], str]]
COLUMNS: tuple[Column, ...] = (
    ("regs", lambda finding, code: str(code.registers)),
    ("spills", lambda finding, code: str(code.spills)),
    ("KiB", lambda finding, code: f"{code.shared_bytes / 1024:.0f}"),
    ("blocks", lambda finding, code: str(finding.occupancy.blocks) if finding.occupancy else ""),
    ("main loop", lambda finding, code: _in_loop(code.loop) if code.loop else ""),
    ("others", lambda finding, code: f"{code.loop.others:.1f}" if code.loop and code.loop.others is not None else ""),
    ("loads", lambda finding, code: " ".join(f"{kind}×{n}" for kind, n in code.loop.loads.items()) if code.loop else ""),
    ("bound", lambda finding, code: f"{finding.bound.fraction:.0%} {finding.bound.limited_by.split()[0]}" if finding.bound else ""),
)
TO_THE_LEFT = ("main loop", "loads", "bound")


def _in_loop(loop: Loop) -> str:
    shapes = Counter(".".join(one.opcode.split(".")[:2]) for one in loop.matrix)
    shapes += Counter({name: loop.counts[name] for name in ("FFMA", "FFMA2") if not loop.matrix and loop.counts[name]})
    return " ".join(f"{shape}×{n}" for shape, n in shapes.items())


def table(findings: list[Finding], gpu: Gpu) -> Table:
    """One line a compilation."""
    major, minor = gpu.compute_capability
    result = Table(title=f"Triton {triton.__version__} for {gpu.name} (compute capability {major}.{minor})", pad_edge=False)
    for name in ("op", "impl", "precision", "variant", "config"):
        long = name == "config" and any(f.compilation.expects == "recorded" for f in findings)  # every compile-time argument
        result.add_column(name, no_wrap=not long, overflow="fold")
    for name, _ in COLUMNS:
        result.add_column(name, justify="left" if name in TO_THE_LEFT else "right")
    result.add_column("verdict", no_wrap=True)
    colours = {"pass": "green", "fail": "red", "unsupported": "yellow"}
    for f in findings:
        c = f.compilation
        cells = [show(f, f.code) if f.code else "" for _, show in COLUMNS]
        result.add_row(c.op, c.impl, c.precision, c.variant, c.config, *cells, f"[{colours[f.status]}]{f.status}")
    return result
