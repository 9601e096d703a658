"""What `inspect` found, as a table for a terminal and as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import triton
from rich.table import Table

from kernels.ahead_of_time import Finding
from kernels.gpus import Gpu
from kernels.machine_code import MachineCode
from kernels.machine_loop import FLOAT_MATRIX, Loop

LOADS = ("LDGSTS", "UTMALDG", "LDG")
SHOWN = (*FLOAT_MATRIX, "FFMA", "FFMA2", *LOADS)


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
