"""Training steps: where the time goes beside where it should, tokens/s, both MFUs, and memory part by part."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from kernels.cost_model import MFU_PEAK_FLOPS_PER_S, predict_phases
from kernels.op import Point
from kernels.registry import point_of
from kernels.training import OP
from kernels.training.memory import Memory, memory
from kernels.training.sizes import config_of, flops, tokens_of
from reports.charts import BARE, Chart, View
from reports.page import render
from reports.palette import PHASE_COLOURS
from reports.report import Report
from reports.section import Section
from reports.units import show

TITLE = "Training steps"
LEAD = "A step is a batch from a file, forward, loss, backward, optimizer and zero_grad."
MFU_LEAD = " MFU counts what the model needs, so recomputing activations takes time and does not raise MFU."
MAX_ROWS = 300
MAX_BARS = 24  # of the longest steps
BAR_PX = 58  # a step's two bars, and its name above them: beside them it would take a phone's whole width
NAME_PX = 24  # from the middle of the bars up to the name


@dataclass(frozen=True)
class Step:
    """A row and what its point should cost. Seconds, FLOPs, bytes."""

    row: pd.Series
    point: Point
    measured_s: dict[str, float]  # by phase; empty where it was not timed
    predicted_s: dict[str, float]  # by phase; empty where no peak is known
    memory: Memory

    @property
    def name(self) -> str:
        """What tells a step from the others of its model, short enough for a phone."""
        options = [self.point.options["optimizer"]] if self.point.options["optimizer"] != "adamw" else []
        options += OP.shown(self.point.options, ("checkpointing", "loading", "attention", "position", "head"))
        return " ".join([self.point.precision, *options, "×".join(map(str, self.point.dims.values()))])

    @property
    def tokens_per_s(self) -> float:
        return tokens_of(self.point) / float(self.row["median_s"])

    @property
    def napkin_mfu(self) -> float:
        """By 6 · parameters · tokens."""
        return config_of(self.point).napkin_flops(tokens_of(self.point), 6) / float(self.row["median_s"]) / MFU_PEAK_FLOPS_PER_S

    @property
    def exact_mfu(self) -> float:
        """By the products that the model needs, attention's among them."""
        return flops(self.point).model / float(self.row["median_s"]) / MFU_PEAK_FLOPS_PER_S

    @property
    def again(self) -> float:
        """FLOPs computed a second time, of those that the model needs."""
        return flops(self.point).again / flops(self.point).model

    @property
    def peak_ratio(self) -> float:
        """Measured peak memory of the tensors over the formula's."""
        return float(self.row["tensor_memory_bytes"]) / self.memory.peak


def training(report: Report) -> Section | None:
    """None where the run has no training steps."""
    steps = [step for _, row in report.frame[report.frame["op"] == OP.name].iterrows() if (step := _step(report, row)) is not None]
    if not steps:
        return None
    timed = [step for step in steps if step.measured_s]
    charts = [_chart(timed)] if timed else []
    body = render(
        "training.html.j2",
        charts=charts,
        steps=steps[:MAX_ROWS],
        more=max(0, len(steps) - MAX_ROWS),
        phases=list(PHASE_COLOURS),
        on_cpu=report.on_cpu,
    )
    return Section("training", TITLE, LEAD + ("" if report.on_cpu else MFU_LEAD), body, charts)


def _step(report: Report, row: pd.Series) -> Step | None:
    """None where the row's precision, dims or options are another version's."""
    point = point_of(row)
    if point is None:
        return None
    measured = json.loads(row["phases_s"]) if isinstance(row["phases_s"], str) else {}
    ceilings = report.environment.ceilings
    predicted = predict_phases(point, ceilings, "hot" if report.on_cpu else "cold") if ceilings else {}
    known = {name: seconds for name, seconds in predicted.items() if not math.isnan(seconds)}  # a peak is not known
    return Step(row, point, measured, known, memory(point, "cpu" if report.on_cpu else "cuda"))


def _chart(steps: list[Step]) -> Chart:
    """Two bars a step, the longest steps first: measured above, predicted below."""
    shown = sorted(steps, key=lambda step: -sum(step.measured_s.values()))[:MAX_BARS]
    height = 110 + BAR_PX * len(shown)
    views = [View("share of the step", _bars(shown, shares=True), height), View("seconds", _bars(shown, shares=False), height)]
    forward = sum(step.measured_s["forward"] for step in shown) / sum(sum(step.measured_s.values()) for step in shown)
    note = (
        "Sizes are batch × sequence × layers × hidden × heads × feedforward × vocab, or tokens × width × layers. The upper bar of a pair "
        "is measured, the paler one under it predicted; where that is missing, a peak is not known."
    )
    alt = f"Time of {len(shown)} training steps by phase, measured and predicted; forward takes {forward:.0%} of what was measured."
    return Chart("training", alt, views, legend=False, note=note)


def _bars(steps: list[Step], shares: bool) -> go.Figure:
    traces = []
    for kind, faint in (("measured", 1.0), ("predicted", 0.5)):
        times = [step.measured_s if kind == "measured" else step.predicted_s for step in steps]
        before = [0.0] * len(steps)
        for phase, colour in PHASE_COLOURS.items():
            seconds = [some.get(phase, 0.0) for some in times]
            lengths = [s / sum(some.values()) if shares and some else s for s, some in zip(seconds, times, strict=True)]
            texts = [f"{step.point.id}<br>{phase}, {kind}: {show(s, 's')}" for step, s in zip(steps, seconds, strict=True)]
            traces.append(
                go.Bar(
                    y=[step.name for step in steps],
                    x=lengths,
                    base=before,
                    orientation="h",
                    offsetgroup=kind,
                    name=phase,
                    legendgroup=phase,
                    showlegend=kind == "measured",
                    marker={"color": colour, "opacity": faint, "line": {"width": 0}},
                    hovertext=texts,
                    hovertemplate="%{hovertext}<extra></extra>",
                )
            )
            before = [b + length for b, length in zip(before, lengths, strict=True)]
    return go.Figure(traces, _layout(shares, [step.name for step in steps]))


def _layout(shares: bool, names: Sequence[str]) -> dict[str, object]:
    along = {"tickformat": ".0%", "title": {"text": "Share of the step"}} if shares else {"ticksuffix": "s", "title": {"text": "Time"}}
    return {
        **BARE,
        "barmode": "group",
        "bargap": 0.5,
        "showlegend": True,
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "bgcolor": "rgba(0,0,0,0)", "traceorder": "normal"},
        "margin": {"l": 16, "r": 16, "t": 40, "b": 56},
        "xaxis": {**along, "zeroline": False, "automargin": True, "rangemode": "tozero"},
        "yaxis": {"autorange": "reversed", "showticklabels": False},
        "annotations": [_above(name) for name in names],
    }


def _above(name: str) -> dict[str, object]:
    """A step's name over its bars, from the left edge on."""
    place = {"xref": "paper", "x": 0, "xanchor": "left", "yref": "y", "y": name, "yshift": NAME_PX}
    return {**place, "text": name, "showarrow": False, "font": {"size": 11}}
