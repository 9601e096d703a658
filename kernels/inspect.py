"""`python -m kernels inspect`: every Triton kernel, compiled for a GPU on a machine without one, and the verdict on its machine code.

Importing PyTorch takes longer than everything else where nothing has changed, so it is imported only where something must be compiled.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import track

from kernels import record_cache
from kernels.console import open_console
from kernels.gpus import Gpu
from kernels.inspect_report import record, table, to_json
from kernels.op import Dims, Op
from kernels.record_cache import Record
from kernels.registry import is_shipped
from kernels.writing import write_text

if TYPE_CHECKING:
    from kernels.ahead_of_time import Progress
    from kernels.compilation import Compilation


def run(
    ops: Iterable[Op], gpu: Gpu, jobs: int, json_file: Path | None, only: list[str] | None = None, dims: Dims | None = None
) -> tuple[int, list[Record]]:
    """Prints the table and the summary, writes the JSON; 0 where everything passed, else 1, and the records. dims: those of recorded
    launches."""
    ops = list(ops)
    records, missing = shipped(ops, gpu, jobs, only)
    recorded, failures = imported(ops, gpu, jobs, only, dims)
    records += recorded
    if json_file:
        write_text(json_file, json.dumps(to_json(records, gpu), indent=1) + "\n")
    console = open_console(width=None if sys.stdout.isatty() else 190)
    console.print(table(records, gpu, bool(recorded)))
    count = Counter(one["status"] for one in records)
    notable = [one for one in records if one["status"] == "fail"] + [one for one in recorded if one["status"] == "unsupported"]
    for one in notable:
        verdict = "FAIL" if one["status"] == "fail" else one["status"]
        console.print(f"{verdict} {one['id']}: {one['reason']}", markup=False, highlight=False, soft_wrap=True)
    for line in failures + missing:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    unsupported = f", {count['unsupported']} unsupported" if count["unsupported"] else ""
    console.print(f"{gpu.name}: {len(records)} compilations, {count['pass']} passed, {count['fail']} failed{unsupported}", highlight=False)
    return 1 if count["fail"] or failures or missing else 0, records


def shipped(ops: Sequence[Op], gpu: Gpu, jobs: int, only: list[str] | None) -> tuple[list[Record], list[str]]:
    """The records of the ops' own kernels, those that are kept where nothing has changed, and a line for each that lists none."""
    entry = record_cache.entry([op.name for op in ops], gpu, only)
    if entry and (kept := record_cache.load(entry)) is not None:
        return kept, []
    from kernels.inspect_gather import gather, unlisted

    records = examined(gather(ops, only, gpu), gpu, jobs)
    missing = unlisted(ops) if only is None else []
    if entry and not missing:
        record_cache.store(entry, records)
    return records, missing


def imported(ops: Sequence[Op], gpu: Gpu, jobs: int, only: list[str] | None, dims: Dims | None) -> tuple[list[Record], list[str]]:
    """The records of what implementations outside this repository launch, and a line for each whose launches cannot be recorded."""
    if all(is_shipped(impl) or impl.language != "triton" for op in ops for impl in op.impls.values()):
        return [], []
    from kernels.inspect_gather import gather_launches

    launches, failures = gather_launches(ops, gpu, only, dims)
    return examined(launches, gpu, jobs), failures


def examined(compilations: list[Compilation], gpu: Gpu, jobs: int) -> list[Record]:
    """The record of each compilation."""
    from kernels.ahead_of_time import examine_all

    return list(map(record, examine_all(compilations, gpu, jobs, compiling_progress(gpu, len(compilations)))))


def compiling_progress(gpu: Gpu, total: int) -> Progress:
    """Shows on a terminal how many of so many compilations are done."""
    console = open_console(error=True)
    text = f"compiling for {gpu.name}"
    return lambda built: track(built, text, total=total, console=console, transient=True, disable=not console.is_terminal)
