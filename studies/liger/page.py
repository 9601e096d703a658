"""The table of Liger's kernels, as text and as part of docs/liger.md."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import triton

from kernels.gpus import Gpu
from kernels.guard import ROOT
from studies.liger.study import SHAPES, Result
from studies.marked import replace_between

PAGE = ROOT / "docs" / "liger.md"
COLUMNS = {  # and whether they hold numbers
    "op": False,
    "precision": False,
    "in the interpreter": False,
    "error over tolerance": True,
    "compiled at": False,
    "registers": True,
    "spills": True,
    "shared KiB": True,
    "128-bit loads": True,
    "matrix instructions": False,
    "verdict": False,
}
BEGIN, END = "<!-- made by python -m studies.liger --write -->", "<!-- end -->"


def table(results: Sequence[Result]) -> list[str]:
    """Markdown: a line for each op and precision."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "|".join("---:" if right else "---" for right in COLUMNS.values()) + "|"]
    return lines + [line for result in results for line in lines_of(result)]


def lines_of(result: Result) -> list[str]:
    error = result.row.error_over_tolerance
    checked = f"{result.row.status} | {'–' if error is None else f'{error:.2f}'}"
    shape = " × ".join(map(str, SHAPES[result.op].values()))
    lines = []
    for finding in result.findings:
        code = finding.code
        used = [name for name in ("HGMMA", "HMMA", "QGMMA") if code and code.instructions.get(name)]
        figures = f"{code.registers} | {code.spills} | {code.shared_bytes / 1024:.1f} | {code.wide_loads}" if code else "– | – | – | –"
        verdict = "; ".join([finding.status, *finding.reasons])
        lines.append(f"| {result.op} | {result.precision} | {checked} | {shape} | {figures} | {', '.join(used) or 'none'} | {verdict} |")
    return lines + [f"| {result.op} | {result.precision} | {checked} | {shape} | – | – | – | – | – | {why} |" for why in result.failures]


def problems(results: Sequence[Result]) -> list[str]:
    """A line for each op and precision that is not right or not well compiled."""
    return [f"{r.op} {r.precision}: {r.row.status}: {r.row.reason}" for r in results if r.row.status != "verified"] + [
        line for r in results for line in (*r.failures, *(f"{f.compilation.id}: {'; '.join(f.reasons)}" for f in r.findings if f.reasons))
    ]


def write_page(results: Sequence[Result], gpu: Gpu) -> Path:
    """Replaces what stands between the two marks of docs/liger.md. Raises ValueError where they are missing."""
    versions = f"liger-kernel {version('liger-kernel')} and Triton {triton.__version__}"
    made = f"Made {datetime.now(UTC):%Y-%m-%d} with {versions}, compiled for {gpu.name}."
    passed = sum(result.passed for result in results)
    count = f"{passed} of {len(results)} are right in the interpreter and compiled without a complaint."
    parts = [made, count, *(f"- {line}" for line in problems(results)), "", *table(results)]
    return replace_between(PAGE, BEGIN, END, parts)
