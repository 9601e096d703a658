"""The page's section on forward and backward passes: ratios and both MFUs by hand, and only where a run has such passes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benches.row import Row, new_row
from kernels.registry import OPS
from reports.report import load_report
from reports.sections.gradient import gradient

DEEP = {"tokens": 1000, "width": 100, "layers": 4}  # 40,100 parameters
BLOCK = {"batch": 2, "sequence": 16, "hidden": 32, "heads": 4, "feedforward": 64}


def row(op: str, dims: dict[str, int], options: dict[str, str], seconds: float | None) -> Row:
    point = OPS[op].point("torch", "bf16", dims, options)
    cost = OPS[op].cost(point, "cpu")
    return new_row(point, cost, "unsupported", "why") if seconds is None else new_row(point, cost, "ok", median_s=seconds)


def deep(which: str, seconds: float | None) -> Row:
    return row("gradient", DEEP, {"model": "deep_linear", "pass": which}, seconds)


def cells(html: str, start: str) -> list[str]:
    (found,) = [r for r in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL) if start in r]
    return [re.sub(r"<[^>]*>", "", cell).replace("\u00a0", " ") for cell in re.findall(r"<td.*?</td>", found)]


def test_passes_side_by_side(make_run: Callable[..., Path]) -> None:
    """Forward 2·1000·40,100 FLOPs; backward twice that less 2·1000·100²; by 6·N·tokens 240.6 M. MFU over 989.5e12."""
    rows = [deep("forward", 1e-6), deep("backward", 3e-6), deep("both", 5e-6)]
    rows.append(row("transformer", BLOCK, {"scope": "block", "pass": "both"}, 1e-6))
    section = gradient(load_report(make_run("cuda", rows=rows)))  # a CPU's page has no MFU
    assert section is not None
    found = cells(str(section.body), "deep_linear-1000x100x4")
    assert found[1:7] == ["80.20 MFLOP", "1.000 µs", "140.4 MFLOP", "3.000 µs", "220.6 MFLOP", "5.000 µs"]
    assert found[7:10] == ["1.75×", "3.00×", "1.25×"]
    assert found[10:12] == ["4.5%", "4.9%"]  # 220.6e6 and 240.6e6 / 5e-6 / 989.5e12
    alone = cells(str(section.body), "block-2x16x32x4x64")
    assert alone[1:5] == ["—"] * 4
    assert alone[7:10] == ["—"] * 3
    assert "the median is 3.00" in section.charts[0].alt


def test_no_chart_without_a_pair(make_run: Callable[..., Path]) -> None:
    section = gradient(load_report(make_run(rows=[deep("forward", 1e-6), deep("backward", None)])))
    assert section is not None
    assert not section.charts
    assert cells(str(section.body), "deep_linear-1000x100x4")[4] == "—"


def test_nothing_where_the_run_has_no_passes(make_run: Callable[..., Path]) -> None:
    add = row("elementwise", {"m": 3, "n": 5}, {"function": "add"}, 1e-6)
    assert gradient(load_report(make_run(rows=[add]))) is None


@pytest.mark.parametrize("options", [{"model": "deep_linear", "pass": "sideways"}, {"model": "deep_linear"}])
def test_rows_of_another_version_are_left_out(make_run: Callable[..., Path], options: dict[str, str]) -> None:
    made = deep("both", 1e-6).model_copy(update={"options": options})
    assert gradient(load_report(make_run(rows=[made]))) is None
