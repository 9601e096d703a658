"""What `inspect` found, as a table for a terminal and as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import triton
from rich.table import Table

from kernels.gpus import Gpu
from kernels.record_cache import Record

if TYPE_CHECKING:
    from kernels.ahead_of_time import Finding
    from kernels.machine_loop import Loop

IDENTITY = ("op", "impl", "precision", "variant", "config")
LOADS = ("LDGSTS", "UTMALDG", "LDG")
MATRIX = ("HGMMA", "QGMMA", "HMMA", "QMMA", "UTCHMMA", "UTCQMMA")
SHOWN = (*MATRIX, "FFMA", "FFMA2", *LOADS)


def to_json(records: Sequence[Record], gpu: Gpu) -> dict[str, Any]:
    """Plain data: for what and with what was compiled, and one flat record a compilation; null where there is no machine code."""
    return {
        "gpu": gpu.name,
        "compute_capability": list(gpu.compute_capability),
        "shared_memory_per_block_bytes": gpu.shared_memory_per_block_bytes,
        "triton": triton.__version__,
        "kernels": list(records),
    }


def record(finding: Finding) -> Record:
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
        "wide_stores": code and code.wide_stores,
        "stack_bytes": code and code.stack_bytes,
        "blocks_per_sm": finding.occupancy and finding.occupancy.blocks,
        "warps_per_sm": finding.occupancy and finding.occupancy.warps,
        "occupancy_limited_by": finding.occupancy and finding.occupancy.limited_by,
        "loop": code and loop_record(code.loop),
        "bound": finding.bound and round(finding.bound.fraction, 4),
        "bound_limited_by": finding.bound and finding.bound.limited_by,
        "code_hash": code and code.hash,
        "instructions": code and {name: code.instructions[name] for name in (*SHOWN, "STL", "LDL") if name in code.instructions},
        "instruction_count": code and sum(code.instructions.values()) - code.instructions.get("NOP", 0),
        "seconds": round(finding.seconds, 3),
    }


def loop_record(loop: Loop | None) -> dict[str, Any] | None:
    """The main loop as plain data, for one pass and one warp; null where there is none."""
    if loop is None:
        return None
    return {
        "matrix": list(loop.shapes),
        "matrix_count": len(loop.matrix),
        "products": _products(loop),
        "multiply_adds": loop.multiply_adds,
        "instructions": len(loop.path),
        "others_each": None if loop.others is None else round(loop.others, 2),
        "wait_depth": loop.wait_depth,
        "barriers": loop.barriers,
        "loads": dict(loop.loads),
        "stores": dict(loop.stores),
    }


def _products(loop: Loop) -> dict[str, int]:
    """The matrix instructions by name and shape; without any, the multiply-adds by name."""
    shapes = Counter(".".join(one.opcode.split(".")[:2]) for one in loop.matrix)
    return dict(shapes) or {name: loop.counts[name] for name in ("FFMA", "FFMA2") if loop.counts[name]}


Column = tuple[str, Callable[[Record], str]]
COLUMNS: tuple[Column, ...] = (
    ("regs", lambda record: str(record["registers"])),
    ("spills", lambda record: str(record["spills"])),
    ("KiB", lambda record: f"{record['shared_bytes'] / 1024:.0f}"),
    ("blocks", lambda record: str(record["blocks_per_sm"] or "")),
    ("main loop", lambda record: _counts(record["loop"], "products")),
    ("others", lambda record: "" if (others := (record["loop"] or {}).get("others_each")) is None else f"{others:.1f}"),
    ("loads", lambda record: _counts(record["loop"], "loads")),
    ("bound", lambda record: f"{record['bound']:.0%} {record['bound_limited_by'].split()[0]}" if record["bound"] else ""),
)
TO_THE_LEFT = ("main loop", "loads", "bound")


def _counts(loop: Record | None, name: str) -> str:
    return " ".join(f"{kind}×{n}" for kind, n in loop[name].items()) if loop else ""


def table(records: Sequence[Record], gpu: Gpu, long_configs: bool) -> Table:
    """One line a compilation. long_configs: some are every compile-time argument of a recorded launch, and are folded."""
    major, minor = gpu.compute_capability
    result = Table(title=f"Triton {triton.__version__} for {gpu.name} (compute capability {major}.{minor})", pad_edge=False)
    for name in IDENTITY:
        result.add_column(name, no_wrap=name != "config" or not long_configs, overflow="fold")
    for name, _ in COLUMNS:
        result.add_column(name, justify="left" if name in TO_THE_LEFT else "right")
    result.add_column("verdict", no_wrap=True)
    colours = {"pass": "green", "fail": "red", "unsupported": "yellow"}
    for record in records:
        cells = ["" if record["registers"] is None else show(record) for _, show in COLUMNS]
        status = record["status"]
        result.add_row(*(record[name] for name in IDENTITY), *cells, f"[{colours[status]}]{status}")
    return result
