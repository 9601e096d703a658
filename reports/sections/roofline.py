"""Roofline (Williams, Waterman and Patterson 2009): achieved FLOP/s over arithmetic intensity, under the roofs of the device."""

from __future__ import annotations

import html

import pandas as pd
import plotly.graph_objects as go

from kernels.gpus import Ceilings
from reports.charts import Axis, Chart, View, figure, guide, label, points, span
from reports.page import render
from reports.palette import GUIDE, precision_colour
from reports.pick import largest
from reports.report import Report
from reports.section import Section
from reports.units import show

LEAD = (
    "Each mark is a point; the sloped line is what memory bandwidth allows, the flat ones each precision's peak, and the "
    "nearer a mark lies to its roof, the less is left to gain."
)


def roofline(report: Report) -> Section:
    """One view over all families, and one for each where there are several."""
    timed = report.timed
    with_flops = timed[timed["flops"] > 0]
    if with_flops.empty:
        return Section("roofline", "Roofline", LEAD, empty="No point that computes anything was timed in this run.")
    ceilings = report.environment.ceilings
    views = [View("all families", _figure(with_flops, ceilings))]
    if with_flops["op"].nunique() > 1:
        views += [View(str(op), _figure(group, ceilings)) for op, group in with_flops.groupby("op")]
    chart = Chart("roofline", _alt(with_flops), views, choose="Family", note=_note(len(timed) - len(with_flops), report))
    return Section("roofline", "Roofline", LEAD, render("chart_only.html.j2", chart=chart), [chart])


def _figure(frame: pd.DataFrame, ceilings: Ceilings | None) -> go.Figure:
    traces = points(frame, "intensity", "flops_per_s")
    if ceilings:
        traces = _roofs(frame, ceilings) + traces
    x = Axis("Arithmetic intensity (FLOP/B)", "FLOP/B", frame["intensity"])
    return figure(traces, x, Axis("Achieved (FLOP/s)", "FLOP/s", frame["flops_per_s"]))


def _roofs(frame: pd.DataFrame, ceilings: Ceilings) -> list[go.Scatter]:
    """The bandwidth's slope up to the highest roof, and from its ridge on a flat roof for each precision in the frame."""
    peaks = {p: ceilings.peak_flops_per_s[p] for p in frame["precision"].unique() if p in ceilings.peak_flops_per_s}
    bandwidth = ceilings.bandwidth_bytes_per_s
    left, right = span(frame["intensity"])
    ridges = [peak / bandwidth for peak in peaks.values()]
    right = max([right, *(2 * ridge for ridge in ridges)])
    top = max(ridges, default=right)
    slope = guide([left, top], [left * bandwidth, top * bandwidth], f"memory bandwidth {show(bandwidth, 'B/s')}", GUIDE)
    flat = [
        guide([peak / bandwidth, right], [peak, peak], f"{html.escape(name)} peak {show(peak, 'FLOP/s')}", precision_colour(name))
        for name, peak in peaks.items()
    ]
    middle = (left * top) ** 0.5
    named = label(middle, middle * bandwidth, f"{show(bandwidth, 'B/s')} ", "top left")
    return [slope, *flat, named, *(label(right, peak, names, "top left") for peak, names in _same_roofs(peaks))]


def _same_roofs(peaks: dict[str, float]) -> list[tuple[float, str]]:
    """One label for the precisions that share a peak."""
    names = {peak: ", ".join(html.escape(name) for name, other in peaks.items() if other == peak) for peak in peaks.values()}
    return [(peak, f"{shared} {show(peak, 'FLOP/s')}") for peak, shared in names.items()]


def _alt(frame: pd.DataFrame) -> str:
    best = largest(frame, frame["flops_per_s"])
    return (
        f"Roofline of {len(frame)} points: achieved FLOP/s over arithmetic intensity, both axes logarithmic. The fastest is "
        f"{best['point']} with {show(best['flops_per_s'], 'FLOP/s')} at {show(best['intensity'], 'FLOP/B')}."
    )


def _note(left_out: int, report: Report) -> str:
    notes = []
    if report.environment.ceilings is None:
        notes.append("No roofs: the peaks of this device are not known.")
    elif report.on_cpu:
        notes.append("The roofs of this CPU were measured in this run; marks above the slope are served from caches.")
    if left_out:
        notes.append(
            f"{left_out} timed points compute nothing (copies, casts, triangles), so they have no place here; see Traffic in the table."
        )
    return " ".join(notes)
