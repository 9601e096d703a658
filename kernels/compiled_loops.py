"""The main loops of the Triton kernels that a launch ran, from the machine code that ran."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from kernels import machine_code_cache
from kernels.kernel_bound import work_of
from kernels.loop_work import LoopWork

WARPS = re.compile(r'"ttg\.num-warps" = (\d+)')  # that were asked for: of warp-specialised kernels those of one group


def loops_of(compiled: Sequence[Any]) -> list[LoopWork]:
    """What one pass of each kernel's main loop asks of an SM, in launch order, without kernels that have no such loop; empty for what was
    not compiled, as in the interpreter, and where the code cannot be read, which goes to the log.

    compiled: what Triton's launcher gave back. Each cubin is disassembled once: its code is kept in Triton's cache.
    """
    kernels = [one for one in compiled if "cubin" in getattr(one, "asm", {})]
    if not kernels:
        return []
    capability = divmod(kernels[0].metadata.target.arch, 10)
    try:
        codes = machine_code_cache.read([(one.asm["cubin"], one.metadata.shared) for one in kernels], capability)
    except (subprocess.CalledProcessError, OSError, ValueError, struct.error) as error:
        print(f"no bound of the compiled kernel: its machine code cannot be read: {error}", file=sys.stderr)
        return []
    works = [code.loop and work_of(code.loop, warps_of(one)) for one, code in zip(kernels, codes, strict=True)]
    return [work for work in works if work]


def warps_of(kernel: Any) -> int:
    """Warps that run the main loop of a compiled kernel: of a block all, where no warps were added that only load."""
    found = WARPS.search(kernel.asm.get("ttgir", ""))
    return int(found[1]) if found else kernel.metadata.num_warps
