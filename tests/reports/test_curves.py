"""Curves over size: which axis a sweep varies, and what the lines hold."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benches.row import Row, new_row
from kernels.op import Point
from kernels.registry import OPS
from reports.charts import Axis
from reports.report import Report, load_report
from reports.sections.curves import MAX_VIEWS, curves, curves_of
from reports.sections.curves import _figure as figure_of

pytestmark = pytest.mark.slow


def matmul(m: int, n: int, k: int, precision: str = "bf16", impl: str = "torch", layout: str = "nn") -> Point:
    return OPS["matmul"].point(impl, precision, {"m": m, "n": n, "k": k}, {"layout": layout})


def add(m: int, n: int, function: str = "add") -> Point:
    return OPS["elementwise"].point("torch", "fp32", {"m": m, "n": n}, {"function": function})


def report_of(make_run: Callable[..., Path], points: list[Point]) -> Report:
    times = {"median_s": 2e-4, "ci_low_s": 1e-4, "ci_high_s": 4e-4}
    rows: list[Row] = [new_row(p, OPS[p.op].cost(p, "cuda"), "ok", **times) for p in points]
    return load_report(make_run("cuda", "curves", rows=rows))


SQUARES = [matmul(size, size, size) for size in (127, 256, 1009)]
CASES: list[tuple[list[Point], list[str]]] = [
    (SQUARES, ["matmul: m = n = k"]),
    (SQUARES[:2], []),
    ([matmul(m, 129, 64) for m in (1, 2, 127)], ["matmul: m (n = 129, k = 64)"]),
    ([matmul(7, n, n) for n in (1, 127, 129)], ["matmul: n = k (m = 7)"]),
    ([add(m, 100) for m in (1, 3, 5)] + [add(m, 100, "gelu") for m in (1, 3)], ["elementwise add: m (n = 100)"]),
    ([matmul(1, 2, 3), matmul(2, 3, 5), matmul(3, 5, 7)], []),
    ([*SQUARES[:2], matmul(1009, 1009, 1009, "fp16")], []),  # three sizes, and no line of three
]


@pytest.mark.parametrize(("points", "expected"), CASES)
def test_the_axis_is_what_the_sweep_varies(make_run: Callable[..., Path], points: list[Point], expected: list[str]) -> None:
    report = report_of(make_run, points)
    assert [curve.name for curve in curves_of(report.timed)] == expected
    assert (curves(report) is None) == (not expected)


def test_lines_of_several_precisions_share_a_chart_though_fp8_takes_another_layout(make_run: Callable[..., Path]) -> None:
    sizes = (128, 256, 512)
    points = (
        [matmul(s, s, s) for s in sizes] + [matmul(s, s, s, "fp8_e4m3", layout="nt") for s in sizes] + [matmul(512, 512, 512, layout="nt")]
    )
    (curve,) = curves_of(report_of(make_run, points).timed)
    assert len(curve.rows) == 6
    assert set(curve.rows["precision"]) == {"bf16", "fp8_e4m3"}
    assert set(curve.rows.loc[curve.rows["precision"] == "bf16", "layout"]) == {"nn"}


def test_a_line_has_its_interval_its_prediction_and_its_roof(make_run: Callable[..., Path]) -> None:
    (curve,) = curves_of(report_of(make_run, SQUARES).timed)
    roof, predicted, band, line = figure_of(curve).data
    flops = np.array([2.0 * size**3 for size in (127, 256, 1009)])
    assert list(line.x) == [127, 256, 1009]
    assert line.y == pytest.approx(flops / 2e-4, rel=1e-6)
    assert band.y == pytest.approx([*flops / 1e-4, *(flops / 4e-4)[::-1]])
    assert predicted.y == pytest.approx(flops / curve.rows["predicted_s"].to_numpy(), rel=1e-6)
    assert roof.y == pytest.approx(flops / curve.rows["roofline_s"].to_numpy(), rel=1e-6)
    assert {trace.meta["precision"] for trace in (roof, predicted, band, line)} == {"bf16"}


def test_what_moves_bytes_is_drawn_in_bytes(make_run: Callable[..., Path]) -> None:
    (curve,) = curves_of(report_of(make_run, [add(m, 100) for m in (1, 3, 5)]).timed)
    assert curve.rate == ("bytes_per_s", "bytes")
    assert figure_of(curve).data[-1].y == pytest.approx([3 * 4 * 100 * m / 2e-4 for m in (1, 3, 5)], rel=1e-6)


def test_a_large_sweep_has_a_dozen_views(make_run: Callable[..., Path]) -> None:
    points = [matmul(m, n, 64) for m in (1, 2, 3) for n in range(10, 30)]
    found = curves_of(report_of(make_run, points).timed)
    assert len(found) == MAX_VIEWS
    counts = pd.Series([len(curve.rows) for curve in found])
    assert counts.is_monotonic_decreasing


@pytest.mark.parametrize(
    ("values", "unit", "inside"),
    [
        ([1.1e11, 1.6e11], "FLOP/s", ["120 G", "140 G", "160 G"]),
        ([1.1e11, 9e11], "FLOP/s", ["200 G", "500 G"]),  # 1, 2 and 5 would do for fewer than three: every digit is named
        ([256, 512, 1024], "count", ["256", "512", "1,024"]),
        ([1, 4096], "count", ["1", "4,096"]),
        ([4096, 4097, 8192], "count", ["5,000", "6,000", "7,000", "8,000"]),  # too close for ticks of their own
        ([1e9, 1e12], "FLOP/s", ["1 G", "10 G", "100 G", "1 T"]),
        ([5.0], "FLOP/s", ["5"]),
    ],
)
def test_an_axis_has_ticks_within_what_it_shows(values: list[float], unit: str, inside: list[str]) -> None:
    layout = Axis("x", unit, pd.Series(values, dtype=float)).layout()
    named = {name.replace("\u00a0", " "): value for value, name in zip(layout["tickvals"], layout["ticktext"], strict=True) if name}  # type: ignore[call-overload]
    found = [name for name, value in named.items() if min(values) * 0.999 <= value <= max(values) * 1.001]
    assert [name for name in inside if name in found] == inside
    assert len(found) >= min(3, len(inside))
