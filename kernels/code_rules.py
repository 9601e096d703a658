"""The rules that compiled code must keep, each with its reason: it fits, spills nothing, runs on the precision's units, loads wide."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from kernels.compilation import ALIGNMENT, Argument, Compilation
from kernels.gpus import Gpu
from kernels.machine_code import MachineCode
from kernels.machine_loop import FLOAT_MATRIX
from kernels.support import FP8_FROM, TF32_FROM, is_fp8

BULK_FROM = (9, 0)  # compute capability of the first bulk copies of tensors
FEW = 1 / 8  # of the bytes that a loop loads, which may be loaded in narrow pieces
DOT = re.compile(r"^\s*%\S+ = (tt\.dot .*: tensor<(?:\d+x)+(\w+).*)$", re.MULTILINE)
WAIT_GROUP = re.compile(r"wgmma\.wait_group\.sync\.aligned\s+(\d+)")
WARP_SPECIALIZE = re.compile(r"^\s*\} \{[^}]*\btt\.warp_specialize\b", re.MULTILINE)  # an attribute, behind the loop's end
MLIR = {"f16": "fp16", "bf16": "bf16", "f8E4M3FN": "fp8_e4m3", "f8E5M2": "fp8_e5m2"}  # besides f32


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
    if capability < compilation.since:
        major, minor = compilation.since
        return f"a run launches this kernel from compute capability {major}.{minor} on"
    if any("fp8" in str(kind) for kind in compilation.signature.values()) and capability < FP8_FROM:
        return "fp8 needs compute capability 8.9 or later"
    if capability < BULK_FROM and any(str(kind).startswith("tensordesc") for kind in compilation.signature.values()):
        return "tensor descriptors made on the host need compute capability 9.0 or later"
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
    if compilation.expects == "wide_stores" and not code.wide_stores:
        reasons.append("no 128-bit store")
    if compilation.expects == "dot":
        expected = expected_instructions(compilation.precision, gpu.compute_capability)
        if not any(code.instructions.get(name) for name in expected):
            reasons.append(f"no {' or '.join(expected)}: {compilation.precision} runs on other units")
        elif code.loop and (others := {one.name for one in code.loop.matrix} - set(expected)):
            reasons.append(f"{', '.join(sorted(others))} in the main loop: {compilation.precision} is multiplied as another format")
        if narrow := narrow_loads(compilation, code):
            reasons.append(f"{narrow} in the main loop, although operands are aligned to {ALIGNMENT} bytes")
        if compilation.precision == "fp32" and (used := [name for name in FLOAT_MATRIX if code.instructions.get(name)]):
            reasons.append(f"{', '.join(used)}: fp32 must not be rounded for the tensor cores")
    return reasons + dropped(compilation, code)


def narrow_loads(compilation: Compilation, code: MachineCode) -> str:
    """The loads of the main loop from global memory that are narrower than 128 bits, where every argument is aligned; else empty."""
    if code.loop is None or not is_aligned(compilation) or not is_contiguous(compilation) or compilation.precision == "tf32":
        return ""  # Hopper multiplies TF32 operands along contiguous k only: Triton moves others one element at a time
    if code.instructions.get("UTMALDG"):
        return ""  # operands come in bulk, on Blackwell in a loop of other warps; the loads beside them are of scales
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
        elif kind != "constexpr" and not kind.startswith("tensordesc"):  # what a descriptor describes is aligned
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
    asynchronous = any(code.instructions.get(name) for name in ("LDGSTS", "UTMALDG", "UBLKCP"))
    pipelined = compilation.expects == "dot" and compilation.num_stages > 1 and is_aligned(compilation)
    through_registers = code.loop and any(kind.startswith("STS.") for kind in code.loop.stores)  # fp8 that is not contiguous along k
    if pipelined and code.loop and not asynchronous and not through_registers:  # what is not aligned is too narrow to be copied so
        reasons.append(f"{compilation.num_stages} stages were requested, but the compiler dropped them: no load is asynchronous")
    return reasons


def requested_wait(ptx: str) -> int | None:
    """How many groups of warpgroup products may still run where Triton's PTX waits for them, at its most permissive wait. None: no wait."""
    return max((int(depth) for depth in WAIT_GROUP.findall(ptx)), default=None)


def judge_wait(compilation: Compilation, requested: int | None, code: MachineCode) -> list[str]:
    """What is wrong where ptxas made warpgroup products wait for one another although Triton did not ask for it, which it reports only as
    an advisory (C7510 and its kind). Sums that are read in every step (IMPRECISE) must be waited for."""
    if not requested or code.loop is None or code.loop.wait_depth != 0 or compilation.constexprs.get("IMPRECISE"):
        return []
    return [f"ptxas serialises the products: Triton lets {requested} run on while the next tile is prepared, the code waits for each"]


def specialises_warps(ttir: str) -> bool:
    """Whether a loop asks for warps that only load, from Triton's first intermediate code."""
    return WARP_SPECIALIZE.search(ttir) is not None


def judge_warps(asked: bool, code: MachineCode) -> list[str]:
    """What is wrong where a kernel asked for warps of their own: with them it moves registers between its warps, by USETMAXREG."""
    if not asked or code.instructions.get("USETMAXREG"):
        return []
    return ["warp specialisation was requested, but the compiler dropped it: there is no USETMAXREG"]


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
        units = [name for name in FLOAT_MATRIX if ("Q" in name) == is_fp8(multiplied)]
        if not any(code.instructions.get(name) for name in units):
            reasons.append(f"no {', '.join(units[:-1])} or {units[-1]}: tl.dot in {multiplied} runs on other units")
    return reasons
