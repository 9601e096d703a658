"""Verdicts on machine code, kept beside Triton's own cache, so that `inspect` neither compiles nor judges a kernel twice.

An entry is found by all that its verdict depends on: Triton's key of the compilation (the kernel's source with all that it calls, Triton's
and ptxas's version, the options), what the compilation expects, the GPU, the disassembler, and the code that compiles, reads and judges. A
kernel that did not compile has no entry: the cause may have been the machine.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import triton

from kernels import kept_json
from kernels.closure import closure
from kernels.compilation import Compilation
from kernels.fingerprint import digest
from kernels.gpus import Gpu
from kernels.kernel_bound import Occupancy
from kernels.loop_work import Bound
from kernels.machine_code_cache import as_plain, from_plain
from kernels.record_cache import tools

if TYPE_CHECKING:
    from kernels.ahead_of_time import Finding

FOLDER = "findings"  # in Triton's cache
JUDGING = ("kernels.ahead_of_time:build", "kernels.ahead_of_time:examine", "kernels.finding_cache:plain", "kernels.finding_cache:fields")


@cache
def rules() -> str:
    """The hash of the source of all that a verdict comes from, and of the tools that read machine code."""
    return digest(f"{closure(JUDGING)}\n{tools()}".encode())


def entry(asked: str, compilation: Compilation, gpu: Gpu) -> Path:
    """The file of one verdict. asked: Triton's key of the compilation."""
    return Path(triton.knobs.cache.dir, FOLDER, f"{digest(repr((asked, compilation, gpu, rules())).encode())}.json")


def load(path: Path) -> dict[str, Any] | None:
    """The fields of a Finding, without its compilation; None where there is no entry that can be read."""
    return kept_json.load(path, fields)


def store(path: Path, finding: Finding) -> None:
    """Writes an entry, where the folder can be written."""
    kept_json.store(path, plain(finding))


def plain(finding: Finding) -> dict[str, Any]:
    """A verdict on machine code, as JSON takes it, without the compilation."""
    assert finding.code is not None  # what did not compile is not kept
    return {
        "status": finding.status,
        "reasons": finding.reasons,
        "code": as_plain(finding.code),
        "seconds": finding.seconds,
        "occupancy": finding.occupancy and asdict(finding.occupancy),
        "bound": finding.bound and asdict(finding.bound),
    }


def fields(kept: dict[str, Any]) -> dict[str, Any]:
    """The fields that `plain` was given. Raises TypeError or KeyError for anything else."""
    occupancy, best = kept["occupancy"], kept["bound"]
    return {
        "status": kept["status"],
        "reasons": kept["reasons"],
        "code": from_plain(kept["code"]),
        "seconds": kept["seconds"],
        "occupancy": occupancy and Occupancy(**occupancy),
        "bound": best and Bound(**best),
    }
