"""The sections on memory, on views and copies, and on number formats."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from benches.row import Row, new_row
from kernels.registry import OPS
from reports.build import html
from reports.report import Report, load_report
from reports.sections.layout import layout
from reports.sections.memory import explain, memory
from reports.sections.precisions import precisions

MIB = 2**20
Make = Callable[..., Path]


def row(op: str, impl: str, precision: str, dims: dict[str, int], options: dict[str, str], **fields: object) -> Row:
    point = OPS[op].point(impl, precision, dims, options)
    return new_row(point, OPS[op].cost(point, "cpu"), "ok" if "median_s" in fields else "unsupported", **fields)  # type: ignore[arg-type]


def view(name: str, precision: str = "bf16", impl: str = "torch", **fields: object) -> Row:
    return row("layout", impl, precision, {"m": 4, "n": 6}, {"function": name}, **fields)


def report(make_run: Make, rows: list[Row], kind: str = "cpu") -> Report:
    return load_report(make_run(kind, rows=rows))


def cells(body: str, words: str) -> list[list[str]]:
    """Texts of the table rows that hold `words`."""
    lines = [re.findall(r"<td[^>]*>(.*?)</td>", line) for line in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)]
    texts = [[re.sub(r"<[^>]+>", "", cell) for cell in line] for line in lines]
    return [line for line in texts if any(words in cell for cell in line)]


def test_views_show_strides_offset_and_storage(make_run: Make) -> None:
    rows = [view("slice", median_s=1e-6), view("transpose", median_s=1e-6), view("view_of_transpose")]
    section = layout(report(make_run, rows))
    assert section is not None
    body = str(section.body)
    assert cells(body, "bf16-slice")[0][2:7] == ["(2, 3)", "(6, 1)", "15", "shared", "1.000\u00a0µs"]
    assert cells(body, "x.t()")[0][2:6] == ["(6, 4)", "(1, 6)", "0", "shared"]
    assert cells(body, "view_of_transpose")[0][2:8] == ["—", "—", "—", "RuntimeError", "—", "—"]


def test_copies_are_set_beside_clone(make_run: Make) -> None:
    """clone and contiguous move the same bytes, so half the speed is half the bandwidth; other precisions have their own clone."""
    rows = [
        view("contiguous", median_s=4e-6),
        view("clone", median_s=2e-6),
        view("clone", "fp32", median_s=1e-6),
        view("row", median_s=1e-6),
    ]
    section = layout(report(make_run, rows))
    assert section is not None
    body = str(section.body)
    assert cells(body, "bf16-contiguous")[0][3:] == ["(4, 1)", "0", "own", "4.000\u00a0µs", "24.00\u00a0MB/s", "50.0%"]
    assert cells(body, "fp32-clone")[0][-1] == "100.0%"
    assert cells(body, "bf16-row")[0][-2:] == ["—", "—"]


def test_a_function_of_another_version_is_left_out_of_the_section_and_not_of_the_page(make_run: Make) -> None:
    known = view("clone", median_s=2e-6)
    stranger = known.model_copy(update={"point": "layout-torch-bf16-twist-4x6", "function": "twist", "options": {"function": "twist"}})
    found = report(make_run, [known, stranger])
    section = layout(found)
    assert section is not None
    assert "twist" not in section.body
    assert "twist" in "".join(found.frame["point"])


def test_runs_without_views_or_measured_memory_have_no_such_sections(make_run: Make) -> None:
    found = report(make_run, [row("matmul", "torch", "fp32", {"m": 2, "n": 3, "k": 5}, {}, median_s=1e-6)])
    assert layout(found) is None
    assert memory(found) is None


def test_memory_ratio_and_summary(make_run: Make) -> None:
    """(127·128 + 128·129 + 127·129) · 4 bytes = 196,604, and once more the result's 65,532; or 7 MB of scratch."""
    dims = {"m": 127, "n": 129, "k": 128}
    exact = row("matmul", "torch", "fp32", dims, {}, median_s=1e-6, peak_memory_bytes=196_604)
    more = row("matmul", "torch", "fp32", {**dims, "k": 127}, {}, median_s=1e-6, peak_memory_bytes=195_580 + 65_532)
    scratch = {"peak_memory_bytes": 196_604 + 7_000_000, "scratch_bytes": 7_000_000}
    packed = row("matmul", "torch", "fp32", {**dims, "m": 128, "k": 127}, {}, median_s=1e-6, **scratch)
    found = report(make_run, [exact, more, packed])
    assert found.frame["memory_bytes"].tolist() == [196_604, 195_580, 196_604]
    assert found.frame["memory_over_analytic"].tolist() == [1.0, pytest.approx(1.33506, rel=1e-5), pytest.approx(36.6049, rel=1e-5)]
    assert found.frame["tensor_memory_bytes"].tolist() == [196_604, 195_580 + 65_532, 196_604]
    section = memory(found)
    assert section is not None
    body = str(section.body)
    assert cells(body, "66.7%")[0][:6] == ["matmul", "torch", "3", "66.7%", "1.10×", "3.66×"]
    assert "1 × the result" in cells(body, "261.1")[0][-1]
    assert [cell.replace("\u00a0", " ") for cell in cells(body, "128x129x127")[-1][3:]] == ["36.6×", "7.000 MB", "0 B", "all of it scratch"]
    assert section.charts[0].alt == (
        "Measured peak memory over analytic memory of 3 points, both logarithmic; 2 agree to the byte without scratch."
    )


EXPLANATIONS = [
    # excess, precision, bytes read, bytes written, on a CPU: what it is taken for
    (0, "bf16", 10**6, 10**6, True, "all of it scratch"),
    (-512, "fp32", 10**6, 10**6, True, "less than the formula"),
    (2 * 10**6, "bf16", 10**6, 10**3, True, "as large as the operands in fp32"),
    (10**6, "fp32", 3 * 10**6, 10**6, True, "1 × the result: an intermediate"),
    (2 * 10**6, "bf16", 3 * 10**6, 10**6, True, "2 × the result: intermediates"),
    (14_400, "fp32", 10**8, 10**8, True, "a library's workspace"),
    (5 * 10**6, "fp32", 10**8, 10**8, True, "workspace, or intermediates of another size"),
    (1020, "bf16", 10**8, 10**8, False, "within the allocator's rounding"),
    (MIB, "bf16", 10**8, 10**8, False, "within the allocator's rounding"),
    (32 * MIB + 512, "bf16", 10**8, 10**8, False, "cuBLAS's workspace of 32 MiB"),
    (10**8, "bf16", 10**8, 10**8, False, "1 × the result"),
]


@pytest.mark.parametrize(("excess", "precision", "read", "written", "on_cpu", "words"), EXPLANATIONS)
def test_what_an_excess_is_taken_for(excess: int, precision: str, read: int, written: int, on_cpu: bool, words: str) -> None:
    found = pd.Series({"excess": excess, "precision": precision, "bytes_read": read, "bytes_written": written})
    assert explain(found, on_cpu).startswith(words)


def test_number_formats_on_the_page(make_run: Make) -> None:
    section = precisions(report(make_run, [view("clone", "fp8_e4m3", median_s=1e-6)]))
    (e4m3,) = cells(str(section.body), "fp8_e4m3")
    assert e4m3 == ["fp8_e4m3", "1", "4", "3", "448", "0.015625", "0.0019531", "0.125", "stays at ±448", "0", "448"]
    assert section.body.count("<strong>") == 1


def test_the_page_has_them_all(make_run: Make) -> None:
    page = html(report(make_run, [view("clone", median_s=2e-6, peak_memory_bytes=96), view("row", median_s=1e-6, peak_memory_bytes=48)]))
    assert all(f'<section id="{name}"' in page for name in ("layout", "memory", "precisions"))
