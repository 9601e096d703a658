"""Measured time against the analytic one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from reports.charts import Axis, Chart, View, figure, guide, points, span
from reports.page import render
from reports.palette import GUIDE
from reports.pick import largest
from reports.report import Report
from reports.section import Section

LEAD = (
    "On the solid line the analytic time is the measured one; marks above it took longer than predicted, and the dotted "
    "lines are twice and half the prediction."
)
MODELS = {"predicted_s": "best prediction", "roofline_s": "roofline", "napkin_s": "napkin"}


def parity(report: Report) -> Section:
    """A view for each level of the cost model, and a table of how far the prediction is off by family, implementation and precision."""
    timed = report.timed[report.timed["predicted_s"].notna() & (report.timed["predicted_s"] > 0)]
    if timed.empty:
        why = "No point was timed." if report.timed.empty else "There is no prediction, since the peaks of this device are not known."
        return Section("parity", "Measured against analytic", LEAD, empty=why)
    views = [View(name, _figure(some, model, name)) for model, name in MODELS.items() if len(some := timed[timed[model] > 0])]
    chart = Chart("parity", _alt(timed), views, choose="Model")
    body = render("parity.html.j2", chart=chart, rows=_accuracy(timed))
    return Section("parity", "Measured against analytic", LEAD, body, [chart])


def _figure(frame: pd.DataFrame, model: str, name: str) -> go.Figure:
    low, high = span(pd.concat([frame[model], frame["median_s"]]))
    ends = [low, high]
    lines = [
        guide(ends, ends, "measured = predicted", GUIDE),
        guide(ends, [2 * v for v in ends], "twice the prediction", GUIDE, "dot", 1),
        guide(ends, [v / 2 for v in ends], "half the prediction", GUIDE, "dot", 1),
    ]
    return figure(
        lines + points(frame, model, "median_s"),
        Axis(f"Analytic time, {name}", "s", frame[model]),
        Axis("Measured median", "s", frame["median_s"]),
    )


def _accuracy(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Geometric mean of measured/predicted, share of points within a factor of two, and the point that is furthest off."""
    table = []
    for (op, impl, precision), group in frame.groupby(["op", "impl", "precision"], sort=True):
        logs = np.log(group["measured_over_predicted"])
        within = float((logs.abs() <= np.log(2)).mean())
        names = {"op": op, "impl": impl, "precision": precision}
        table.append(
            {**names, "points": len(group), "ratio": float(np.exp(logs.mean())), "within": within, "worst": largest(group, logs.abs())}
        )
    return table


def _alt(frame: pd.DataFrame) -> str:
    within = frame["measured_over_predicted"].between(0.5, 2).mean()
    return f"Measured against predicted time of {len(frame)} points, both axes logarithmic; {within:.0%} lie within a factor of two."
