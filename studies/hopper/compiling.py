"""Compiles variants for sm_90, with or without a GPU, by Triton's own launch path: a later launch finds them in Triton's cache."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from studies.hopper.board import first_line
from studies.hopper.plan import Case, Variant

SHOWN = ("HGMMA", "QGMMA", "LDGSTS", "UTMALDG", "STG", "STSM", "UTMASTG", "USETMAXREG")


@dataclass(frozen=True)
class Compiled:
    """What the compiler made of a variant: machine code, or an error."""

    variant: Variant
    case: Case
    elf: bytes = b""
    shared_bytes: int = 0
    error: str = ""
    seconds: float = 0.0
    warps: int = 0  # of a block, with those that Triton adds


def compile_variant(variant: Variant, case: Case, stub: bool) -> Compiled:
    """Compiles one variant; with `stub` also the C code that launches it, which needs libcuda.

    It replaces Triton's driver, so it runs in a process that launches nothing.
    """
    import torch
    from triton.backends.compiler import GPUTarget
    from triton.runtime.driver import driver

    from studies.hopper.calls import call, operands

    class Sm90:
        """What Triton's compiler asks of a driver; the real one would make a CUDA context in every process that compiles."""

        def get_current_target(self) -> Any:
            return GPUTarget("cuda", 90, 32)

        def get_current_device(self) -> int:
            return 0

        def get_current_stream(self, device: int) -> int:
            return 0

    torch.set_num_threads(1)
    driver.set_active(Sm90())
    start = time.perf_counter()
    try:
        kernel, blocks, arguments = call(variant, case, operands(case, "meta", 0))
        compiled = kernel.warmup(grid=(blocks,), **arguments)
    except Exception as error:  # whatever a compiler raises is a result of this study
        return Compiled(variant, case, error=first_line(error), seconds=time.perf_counter() - start)
    if stub:
        from triton.backends.nvidia.driver import CudaLauncher, CudaUtils

        with suppress(Exception):  # the launch builds it again, and shows what is wrong
            CudaUtils()
            CudaLauncher(compiled.src, compiled.metadata)
    return Compiled(
        variant, case, compiled.asm["cubin"], compiled.metadata.shared, "", time.perf_counter() - start, compiled.metadata.num_warps
    )


def lines(compiled: Sequence[Compiled]) -> list[str]:
    """The machine code of each in a line, and what is wrong with it on an H100."""
    from kernels.ahead_of_time import Cubin, examine
    from kernels.compilation import Compilation
    from kernels.gpus import load_gpu

    built = []
    for one in compiled:
        v, case = one.variant, one.case
        named = Compilation("matmul", case.precision, case.layout, v.name, "", {}, {}, (), v.warps, v.stages, "dot")
        built.append(Cubin(named, one.elf, one.shared_bytes, one.seconds, one.warps))
    judged = iter(examine([cubin for cubin in built if cubin.elf], load_gpu("h100_sxm5")))
    result = []
    for one in compiled:
        head = f"{one.variant.name:56} {one.case.precision:8} {one.case.layout}"
        code = (finding := next(judged)).code if one.elf else None
        if code is None:
            result.append(f"{head} FAIL {one.error or '; '.join(finding.reasons)}")
            continue
        counts = " ".join(f"{name} {code.instructions[name]}" for name in SHOWN if name in code.instructions)
        measures = f"{code.registers:3} registers {code.shared_bytes:6} bytes {code.spills} spills"
        result.append(f"{head} {measures} {counts}{' FAIL ' if finding.reasons else ''}{'; '.join(finding.reasons)}")
    return result


def inspect(wanted: Sequence[tuple[Variant, Case]], processes: int) -> list[str]:
    """Compiles all and describes their machine code."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        variants, cases = zip(*wanted, strict=True)
        return lines(list(pool.map(compile_variant, variants, cases, [False] * len(wanted))))
