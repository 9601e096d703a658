"""The pairs as a chart: ratio over time, with error bars, coloured by verdict."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from reports.charts import Axis, Chart, View, figure, guide, span
from reports.compare.comparison import JUDGED, Comparison
from reports.palette import GUIDE, VERDICT_COLOURS, impl_mark
from reports.units import tick

SLACK = 1.1  # of the axis beyond the ratios; what no sample supports, a far end of an error bar, may go past it
MOST_TICKS = 9
STEPS = (  # above 1; those below mirror them
    [1.01, 1.02, 1.03, 1.04, 1.05],
    [1.02, 1.04, 1.06, 1.08, 1.1],
    [1.05, 1.1, 1.15, 1.2],
    [1.1, 1.2, 1.3, 1.4, 1.5],
    [1.25, 1.5, 2, 4],
    [1.5, 2, 4, 8, 16],
    [2, 5, 10, 20, 50],
)
LEGEND = {"orientation": "h", "x": 0, "y": -0.16, "yanchor": "top", "traceorder": "reversed"}
BARS = 2000  # pairs up to which each has its error bar


def pairs_chart(found: Comparison) -> Chart:
    """One view of all pairs, and one a family where there are several: verdicts by colour, implementations by mark."""
    pairs = found.pairs
    views = [_view("all", pairs, found)]
    if pairs["op"].nunique() > 1:
        views += [_view(str(op), group, found) for op, group in pairs.groupby("op", sort=True)]
    counts = ", ".join(f"{count} {verdict}" for verdict, count in found.counts().items() if verdict in JUDGED)
    note = (
        "Colour: the verdict (a click on a name in the legend hides its pairs). Mark: ● torch, ■ torch_compile, ◆ triton. "
        "Bars: 95% intervals. Dotted: the threshold."
    )
    if len(pairs) > BARS:
        note += f" With more than {BARS} pairs a view only slower and faster ones have bars."
    return Chart("pairs", f"B's time over A's for {len(pairs)} pairs: {counts}.", views, legend=False, note=note)


def _view(name: str, pairs: pd.DataFrame, found: Comparison) -> View:
    ends = span(pairs["median_s_a"])
    limit = 1 + found.assumed.threshold
    lines = [guide(ends, [1, 1], "as fast as A", GUIDE)]
    lines += [guide(ends, [y, y], f"threshold {y:.3g}×", GUIDE, "dot", 1) for y in (limit, 1 / limit)]
    if found.shift:
        middle = found.shift.median
        lines.append(guide(ends, [middle, middle], f"the run's median, {middle:.3g}×", GUIDE, "dash", 1))
    bars = len(pairs) <= BARS
    traces = [_trace(verdict, pairs[pairs["verdict"] == verdict], bars or verdict in ("slower", "faster")) for verdict in reversed(JUDGED)]
    fig = figure(
        [line.update(showlegend=False) for line in lines] + traces,
        Axis("A's median", "s", pairs["median_s_a"]),
        Axis("B's median over A's", "ratio", pairs["ratio"]),
    )
    low, high = pairs["ratio"].min(), pairs["ratio"].max()
    low, high = min(low, 1 / limit) / SLACK, max(high, limit) * SLACK
    ticks = ratio_ticks(low, high)
    fig.update_yaxes(range=np.log10([low, high]).tolist(), tickvals=ticks, ticktext=[tick(value, "ratio") for value in ticks])
    fig.update_layout(showlegend=True, legend=LEGEND, margin={"b": 96})
    return View(name, fig)


def ratio_ticks(low: float, high: float) -> list[float]:
    """Round ratios from `low` to `high`, the finest steps that leave no more than MOST_TICKS; over a wide range powers of ten."""
    for steps in STEPS:
        upper = [value for value in steps if value <= high]
        lower = [1 / value if value >= 2 else round(2 - value, 3) for value in steps if value > 1]
        ticks = sorted([value for value in lower if value >= low] + [1.0] + upper)
        if 3 <= len(ticks) <= MOST_TICKS:
            return ticks
    return [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def _trace(verdict: str, pairs: pd.DataFrame, bars: bool) -> go.Scatter:
    ratio = pairs["ratio"].to_numpy(np.float32)
    up, down = (pairs["high"] - pairs["ratio"]).to_numpy(np.float32), (pairs["ratio"] - pairs["low"]).to_numpy(np.float32)
    colour = VERDICT_COLOURS[verdict]
    return go.Scatter(
        x=pairs["median_s_a"].to_numpy(np.float32),
        y=ratio,
        error_y={"type": "data", "array": up, "arrayminus": down, "thickness": 1, "width": 0, "color": colour, "visible": bars},
        customdata=pairs.index.to_numpy(np.int32),
        mode="markers",
        name=verdict,
        marker={"color": colour, "symbol": [impl_mark(impl) for impl in pairs["impl"]], "size": 8, "line": {"width": 0.5}},
        hovertemplate="%{hovertext}<extra></extra>",
    )
