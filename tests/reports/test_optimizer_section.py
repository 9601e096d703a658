"""The page's section on optimizer steps: by formula, measured, and only where a run has such steps."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benches.row import Row, new_row
from kernels.registry import OPS
from reports.report import load_report
from reports.sections.optimizer import optimizer

N = 1000


def step(impl: str, method: str, seconds: float | None, precision: str = "fp32", master: str = "none") -> Row:
    point = OPS["optimizer"].point(impl, precision, {"tensors": 2, "n": N}, {"method": method, "master": master})
    cost = OPS["optimizer"].cost(point, "cpu")
    if seconds is None:
        return new_row(point, cost, "verified", "right; not timed")
    return new_row(point, cost, "ok", median_s=seconds, peak_memory_bytes=cost.memory_bytes + 12)


def cells(html: str, start: str) -> list[str]:
    """The cells of the table row in which `start` stands, without tags."""
    (row,) = [r for r in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL) if start in r]
    return [re.sub(r"<[^>]*>", "", cell).replace("\u00a0", " ") for cell in re.findall(r"<td.*?</td>", row)]


@pytest.fixture
def section(make_run: Callable[..., Path]) -> str:
    rows = [
        step("torch", "adamw", 4e-6),
        step("torch_fused", "adamw", 1e-6),
        step("triton", "adamw", None, "bf16", "fp32"),
        step("torch", "sgd", 1e-6),
    ]
    made = optimizer(load_report(make_run(rows=rows)))
    assert made is not None
    assert [chart.id for chart in made.charts] == ["optimizer"]
    return str(made.body)


def test_bytes_a_parameter(section: str) -> None:
    """Weight, gradient, master, state, held; read, written; FLOPs. AdamW: 4 + 4 + 8, and 2 + 2 + 4 + 8 with masters."""
    table = section.split("<h3>Measured</h3>", maxsplit=1)[0]
    assert cells(table, "<td>adamw</td><td>fp32</td>")[3:11] == ["4", "4", "0", "8", "16", "16", "12", "15"]
    assert cells(table, "<td>bf16</td><td>fp32</td>")[3:11] == ["2", "2", "4", "8", "16", "14", "14", "15"]
    assert cells(table, "p ← p − lr · g")[3:11] == ["4", "4", "0", "0", "8", "8", "4", "2"]


def test_measured(section: str) -> None:
    """2 · 1000 parameters: 16 kB of state; 56 kB moved; four times as fast as the loop."""
    table = section.split("<h3>Measured</h3>")[1]
    fused = cells(table, "optimizer-torch_fused-fp32-adamw-2x1000")
    assert fused[:6] == ["adamw", "fp32", "none", "2×1000", "torch_fused", "ok"]
    assert fused[6:11] == ["16.00 kB", "16.01 kB", "8.000 B", "56.00 kB", "1.000 µs"]
    assert fused[-1] == "4.00×"
    loop = cells(table, 'title="optimizer-torch-fp32-adamw-2x1000"')
    assert (loop[8], loop[-1]) == ("12.01 kB", "—")  # three temporaries of 4 kB and two counters
    assert cells(table, "optimizer-triton-bf16-adamw-2x1000-master_fp32")[5:8] == ["verified", "24.00 kB", "—"]


def test_a_run_without_steps_has_no_section_and_another_versions_steps_do_not_break_it(make_run: Callable[..., Path]) -> None:
    assert optimizer(load_report(make_run())) is None
    other = step("torch", "sgd", 1e-6).model_copy(update={"options": {"method": "lion"}})
    assert optimizer(load_report(make_run(rows=[other]))) is None
    other = step("torch", "sgd", 1e-6).model_copy(update={"precision": "fp4"})
    assert optimizer(load_report(make_run(rows=[other]))) is None
