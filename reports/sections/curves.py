"""Curves over size: what a kernel achieves as one axis of the sweep grows, the picture that shows where a kernel saturates."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from functools import cache
from itertools import combinations, islice

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from kernels.registry import OPS
from reports.charts import Axis, Chart, View, figure, span
from reports.page import render
from reports.palette import impl_mark, precision_colour
from reports.pick import largest
from reports.report import Report
from reports.section import Section
from reports.units import show

LEAD = (
    "Performance of each implementation by size: solid lines are measured and shaded by their intervals, dashed ones are predicted, "
    "and dotted ones are the roofline of that size."
)
MIN_VALUES = 3  # of an axis: fewer are no curve
MAX_VIEWS = 12  # those of the most points
MAX_TOGETHER = 4  # dims of which any several may grow together; of more dims only single ones are looked at
LINE = ["precision", "impl"]
Key = tuple[str, str, tuple[str, ...], tuple[tuple[str, int], ...]]  # op, what it computes, the axis, the other dims' sizes


@dataclass(frozen=True)
class Curve:
    """Points that differ in one axis, in precision and in implementation. `rows` has their sizes as `x`."""

    op: str
    name: str
    axis: str
    rows: pd.DataFrame

    @property
    def rate(self) -> tuple[str, str]:
        """The column that is drawn, and what it is the rate of: FLOPs where matrix units bound the op, else bytes."""
        return ("flops_per_s", "flops") if self.op in OPS and OPS[self.op].on_matrix_units else ("bytes_per_s", "bytes")


def curves(report: Report) -> Section | None:
    """None where no axis has MIN_VALUES values that were timed."""
    found = curves_of(report.timed)
    if not found:
        return None
    views = [View(curve.name, _figure(curve)) for curve in found]
    note = "Axes of fewer points are in the table of every point." if len(found) == MAX_VIEWS else ""
    chart = Chart("curves", _alt(found[0]), views, choose="Axis", note=note)
    return Section("curves", "Curves over size", LEAD, render("chart_only.html.j2", chart=chart), [chart])


def curves_of(timed: pd.DataFrame) -> list[Curve]:
    """The axes along which at least one precision and implementation has MIN_VALUES sizes: at most MAX_VIEWS, of the most points first."""
    groups: dict[Key, list[tuple[int, int]]] = {}  # where each point of a group stands in the frame, and its size
    for place, (op, dims, options) in enumerate(zip(timed["op"], timed["dims"], timed["options"], strict=True)):
        sizes = json.loads(dims)
        lead = _leading(op, json.loads(options))
        for axis in _axes(tuple(sizes)):
            if len({sizes[name] for name in axis}) == 1:
                fixed = tuple((name, size) for name, size in sizes.items() if name not in axis)
                groups.setdefault((op, lead, axis, fixed), []).append((place, sizes[axis[0]]))
    long = ((key, some) for key, some in groups.items() if len({size for _, size in some}) >= MIN_VALUES)
    found = (_curve(*key, _lines(timed, some)) for key, some in sorted(long, key=lambda item: -len(item[1])))
    return list(islice((curve for curve in found if len(curve.rows)), MAX_VIEWS))


def _curve(op: str, lead: str, axis: tuple[str, ...], fixed: tuple[tuple[str, int], ...], rows: pd.DataFrame) -> Curve:
    """The curve under its name: `matmul: m (n = 8192, k = 8192)`."""
    others = ", ".join(f"{name} = {size}" for name, size in fixed)
    named = " ".join(filter(None, (op, lead)))
    return Curve(op, f"{named}: {' = '.join(axis)}" + (f" ({others})" if others else ""), " = ".join(axis), rows)


def _leading(op: str, options: dict[str, str]) -> str:
    """The options that say what is computed, as a point's id has them; of an op of another version all."""
    known = OPS[op].options if op in OPS else {}
    return " ".join(value for name, value in options.items() if name not in known or known[name].leading)


@cache
def _axes(names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Dims that grow together, and each dim alone."""
    together = [axis for count in range(len(names), 1, -1) for axis in combinations(names, count)] if len(names) <= MAX_TOGETHER else []
    return (*together, *((name,) for name in names))


def _lines(timed: pd.DataFrame, places: list[tuple[int, int]]) -> pd.DataFrame:
    """The rows that make lines. Of points that differ in further options, such as the layout, those of the most sizes."""
    rows = timed.iloc[[place for place, _ in places]].assign(x=[size for _, size in places])
    kept = []
    for _, line in rows.groupby(LINE, sort=False):
        variants = [some.drop_duplicates("x").sort_values("x") for _, some in line.groupby("options", sort=False)]
        longest = max(variants, key=len)
        if len(longest) >= MIN_VALUES:
            kept.append(longest)
    return pd.concat(kept) if kept else rows.iloc[:0]


def _figure(curve: Curve) -> go.Figure:
    column, work = curve.rate
    rows = curve.rows.assign(bytes=curve.rows["bytes_read"] + curve.rows["bytes_written"])
    traces: list[go.Scatter] = []
    for precision, some in rows.groupby("precision", sort=False):
        by_size = some.drop_duplicates("x").sort_values("x")
        for seconds, what, dash in (("roofline_s", "roofline", "dot"), ("predicted_s", "predicted", "dash")):
            if (by_size[seconds] > 0).all():
                traces.append(_guide(by_size["x"], by_size[work] / by_size[seconds], str(precision), what, dash))
    for names, line in rows.groupby(LINE, sort=False):
        name, impl = map(str, names)
        traces += [_band(line, line[work], name, impl), _line(line, column, name, impl)]
    reached = pd.concat([pd.Series(np.asarray(trace.y, float)) for trace in traces if len(trace.y)])
    x, y = (
        Axis(curve.axis, "count", rows["x"]),
        Axis("Achieved (FLOP/s)" if work == "flops" else "Traffic (B/s)", column_unit(work), reached),
    )
    return figure(traces, x, y)


def column_unit(work: str) -> str:
    """The unit of a rate, as reports.units names it."""
    return "FLOP/s" if work == "flops" else "B/s"


def _line(line: pd.DataFrame, column: str, precision: str, impl: str) -> go.Scatter:
    return go.Scatter(
        x=line["x"].to_numpy(np.float32),
        y=line[column].to_numpy(np.float32),
        customdata=line.index.to_numpy(np.int32),
        mode="lines+markers",
        name=f"{precision} {impl}",
        meta={"precision": precision, "impl": impl},
        line={"color": precision_colour(precision), "width": 1.8},
        marker={"color": precision_colour(precision), "symbol": impl_mark(impl), "size": 8},
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _band(line: pd.DataFrame, work: pd.Series, precision: str, impl: str) -> go.Scatter:
    """The interval of the median, there along its upper end and back along the lower one."""
    known = line["ci_low_s"].notna() & line["ci_high_s"].notna()
    x, upper, lower = line["x"][known], (work / line["ci_low_s"])[known], (work / line["ci_high_s"])[known]
    return go.Scatter(
        x=[*x, *x[::-1]],
        y=[*upper, *lower[::-1]],
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=precision_colour(precision),
        opacity=0.25,
        meta={"precision": precision, "impl": impl},
        hoverinfo="skip",
    )


def _guide(x: pd.Series, y: pd.Series, precision: str, what: str, dash: str) -> go.Scatter:
    """A line that is no data, switched with its precision."""
    return go.Scatter(
        x=x.to_numpy(np.float32),
        y=y.to_numpy(np.float32),
        mode="lines",
        line={"color": precision_colour(precision), "dash": dash, "width": 1},
        meta={"precision": precision},
        hovertemplate=f"{what}, {html.escape(precision)}<extra></extra>",
    )


def _alt(curve: Curve) -> str:
    column, work = curve.rate
    best = largest(curve.rows, curve.rows[column])
    low, high = span(curve.rows["x"], 1)
    return (
        f"{curve.name} from {low:,.0f} to {high:,.0f}, {len(curve.rows)} points; the highest is {best['point']} with "
        f"{show(best[column], column_unit(work))}."
    )
