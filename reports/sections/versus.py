"""PyTorch against Triton and torch.compile: the same case in everything but the implementation."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kernels.registry import OPS, language_of, point_of
from reports.charts import Axis, Chart, View, figure, guide, points, span
from reports.page import render
from reports.palette import GUIDE
from reports.pick import geometric_mean, largest, pairs
from reports.report import Report
from reports.section import Section

LEAD = "PyTorch's time divided by the other implementation's, for the same case; above 1× the other one is faster, and means are geometric."
MAX_VERIFIED = 200


def versus(report: Report) -> Section:
    """Ratios as a chart and by family; where Triton was only checked, which points and at which shape."""
    paired = pairs(report.timed)
    verified = interpreted(report.frame)
    title = "PyTorch against Triton and torch.compile"
    if paired.empty and verified.empty:
        return Section("versus", title, LEAD, empty="No case was timed both in PyTorch and in another implementation.")
    charts = [] if paired.empty else [_chart(paired)]
    body = render(
        "versus.html.j2",
        charts=charts,
        summary=_summary(paired),
        untimed=len(verified) if report.on_cpu else 0,
        verified=[(row, _checked_shape(row)) for _, row in verified.head(MAX_VERIFIED).iterrows()],
        more=max(0, len(verified) - MAX_VERIFIED),
    )
    return Section("versus", title, LEAD, body, charts)


def interpreted(frame: pd.DataFrame) -> pd.DataFrame:
    """Points that Triton's interpreter checked, sorted by op and implementation. Leaves out PyTorch's, verified where timing was off."""
    verified = frame[frame["status"] == "verified"]
    in_triton = [language_of(op, impl) != "torch" for op, impl in zip(verified["op"], verified["impl"], strict=True)]
    return verified[np.array(in_triton, bool)].sort_values(["op", "impl"], kind="stable")


def _chart(paired: pd.DataFrame) -> Chart:
    """Over PyTorch's time, since launch overhead and tile quantisation show on short kernels and fade on long ones."""
    ends = span(paired["torch_s"])
    traces = [guide(ends, [1, 1], "as fast as PyTorch", GUIDE), *points(paired, "torch_s", "speedup")]
    fig = figure(traces, Axis("PyTorch's median", "s", paired["torch_s"]), Axis("Speed-up over PyTorch", "ratio", paired["speedup"]))
    low, high = np.log10(paired["speedup"].min()), np.log10(paired["speedup"].max())
    fig.update_yaxes(range=[min(low, -0.3) - 0.05, max(high, 0.3) + 0.05])
    alt = f"Speed-up over PyTorch of {len(paired)} points; the geometric mean is {geometric_mean(paired['speedup']):.2f}."
    return Chart("versus", alt, [View("all", fig)])


def _summary(paired: pd.DataFrame) -> list[dict[str, object]]:
    table = []
    for (op, impl, precision), group in paired.groupby(["op", "impl", "precision"], sort=True):
        best, worst = largest(group, group["speedup"]), largest(group, -group["speedup"])
        mean, faster = geometric_mean(group["speedup"]), (group["speedup"] > 1).mean()
        names = {"op": op, "impl": impl, "precision": precision}
        table.append({**names, "pairs": len(group), "mean": mean, "faster": faster, "best": best, "worst": worst})
    return table


def _checked_shape(row: pd.Series) -> str:
    """The small shape at which Triton's interpreter ran the point, by the op's own rule."""
    point = point_of(row)
    return "×".join(map(str, OPS[point.op].shrink(point).dims.values())) if point else "not known"
