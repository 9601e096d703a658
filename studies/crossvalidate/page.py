"""The tables of docs/cost_model.md that hold numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kernels.cost_model import predict
from kernels.gpus import gpu_names, load_gpu
from kernels.guard import ROOT
from kernels.registry import OPS
from reports.calibrate.quality import Quality
from studies.crossvalidate import problems
from studies.crossvalidate.study import Result, extrapolated
from studies.marked import replace_between

PAGE = ROOT / "docs" / "cost_model.md"
BEGIN, END = "<!-- made by python -m studies.crossvalidate --write -->", "<!-- end -->"
SHOWN = (("bf16", (8192, 8192, 8192)), ("bf16", (1, 8192, 8192)), ("fp32", (4096, 4096, 4096)), ("fp32", (1, 8192, 8192)))


def _row(q: Quality, name: str) -> str:
    return f"| {name} | {q.regime} | {q.rows:,} | {q.mape:.1%} | {q.ratio:.3f} | {q.within:.1%} | {q.worst:.2f} |"


def errors_table(results: Sequence[Result]) -> list[str]:
    lines = [
        "| rows | regime | count | MAPE | geometric mean ratio | within 1.5 | worst | limit | |",
        "|---|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for result in results:
        for i, q in enumerate(result.held_out):
            limit = f" {result.study.limit:.1%} | {'met' if result.met else 'NOT MET'} |" if i == 0 else " | |"
            lines.append(_row(q, q.name if i == 0 else "") + limit)
    return lines


def constants_table(results: Sequence[Result]) -> list[str]:
    lines = ["| rows | constants fitted on all of them | |", "|---|---|---|"]
    for result in results:
        constants = ", ".join(f"`{name}` {value:.4g}" for name, value in result.constants.items())
        lines.append(f"| {result.study.problem.name} | {constants} | {result.study.note} |")
    return lines


def extrapolation_table() -> list[str]:
    lines = ["| bf16 fitted on | judged on | count | MAPE | geometric mean ratio | within 1.5 | worst |", "|---|---|--:|--:|--:|--:|--:|"]
    return lines + [_row(q, q.name) for q in extrapolated(problems.bf16(), problems.bf16_work())]


def gpus_table() -> list[str]:
    """Share of the roofline's speed that is predicted: of the peak, or of the bandwidth, whichever limits."""
    heads = [f"{precision} {'×'.join(map(str, size))}" for precision, size in SHOWN]
    lines = ["| predicted share of the roofline | " + " | ".join(heads) + " |", "|---" + "|--:" * len(heads) + "|"]
    points = [OPS["matmul"].point("torch", precision, dict(zip("mnk", size, strict=True))) for precision, size in SHOWN]
    for name in gpu_names():
        found = predict(points, load_gpu(name))
        lines.append(f"| {name} | " + " | ".join(f"{share:.0%}" for share in found.roofline_s / found.predicted_s) + " |")
    return lines


def tables(results: Sequence[Result]) -> list[str]:
    parts = (errors_table(results), constants_table(results), extrapolation_table(), gpus_table())
    return [line for part in parts for line in ("", *part)][1:]


def write_page(results: Sequence[Result]) -> Path:
    """Replaces what stands between the two marks of docs/cost_model.md. Raises ValueError where they are missing."""
    return replace_between(PAGE, BEGIN, END, tables(results))
