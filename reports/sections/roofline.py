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
    "Each mark is a point; a sloped line is what a bandwidth allows, the flat ones each precision's peak, and the "
    "nearer a mark lies to its roof, the less is left to gain."
)

NEAR = 1.35  # a factor between two roofs below which their labels would run into one another


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
    """A slope for each level of memory, up to the highest roof, and from the steepest one's ridge on a flat roof for each precision."""
    peaks = {p: ceilings.peak_flops_per_s[p] for p in frame["precision"].unique() if p in ceilings.peak_flops_per_s}
    levels = {cache.bandwidth_bytes_per_s: cache.name for cache in ceilings.caches} | {ceilings.bandwidth_bytes_per_s: "memory"}
    bandwidth = max(levels)
    left, right = span(frame["intensity"])
    top = max(peaks.values(), default=right * bandwidth)
    right = max([right, *(2 * peak / ceilings.bandwidth_bytes_per_s for peak in peaks.values())])
    slopes = []
    for rate, name in levels.items():
        text = f"{name} {show(rate, 'B/s')}"
        middle = (left * top / rate) ** 0.5
        slopes += [
            guide([left, top / rate], [left * rate, top], f"bandwidth of {text}", GUIDE),
            label(middle, middle * rate, f"{text} ", "top left"),
        ]
    flat = [
        guide([peak / bandwidth, right], [peak, peak], f"{html.escape(name)} peak {show(peak, 'FLOP/s')}", precision_colour(name))
        for name, peak in peaks.items()
    ]
    return [*slopes, *flat, *(label(right, peak, names, "top left") for peak, names in _same_roofs(peaks))]


def _same_roofs(peaks: dict[str, float]) -> list[tuple[float, str]]:
    """One label for the precisions whose peaks lie too near one another for two."""
    groups: list[list[tuple[str, float]]] = []
    for name, peak in sorted(peaks.items(), key=lambda item: -item[1]):
        if groups and groups[-1][0][1] <= NEAR * peak:
            groups[-1].append((name, peak))
        else:
            groups.append([(name, peak)])
    return [(group[0][1], ", ".join(_roof_name(group))) for group in groups]


def _roof_name(group: list[tuple[str, float]]) -> list[str]:
    """Names with their peaks; a peak that several share once, after the last of them."""
    following = [*(peak for _, peak in group[1:]), None]
    return [
        html.escape(name) + ("" if peak == after else f" {show(peak, 'FLOP/s')}")
        for (name, peak), after in zip(group, following, strict=True)
    ]


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
        notes.append("The roofs of this CPU were measured in this run; data that fit a cache are served at its slope.")
    if left_out:
        notes.append(
            f"{left_out} timed points compute nothing (copies, casts, triangles), so they have no place here; see Traffic in the table."
        )
    return " ".join(notes)
