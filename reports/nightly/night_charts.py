"""The node's shift by night: what every series of a GPU was slower by together."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from reports.charts import BARE, HOVER, Chart, View
from reports.nightly.model import NodeShift
from reports.palette import GUIDE
from reports.units import show

HUES = ("#1a73c8", "#d55e00", "#009e73", "#b5659a", "#e09a12", "#3c9fdc")  # after Okabe and Ito, as in reports.palette
DASHES = ("solid", "dash", "dot")
LINES = 8  # GPUs up to which each has its line; more make a heat map
SCALE = [[0.0, "#009e73"], [0.5, "#e9ecef"], [1.0, "#d55e00"]]


def shift_chart(shifts: Sequence[NodeShift]) -> Chart:
    """Percent over nights, a line a GPU or a heat map of them. `shifts` is not empty; those that are not told from what is usual for their
    GPU, its first nights', are left out where others are."""
    shifts = [shift for shift in shifts if shift.moved is not None] or shifts
    gpus, nights = list(dict.fromkeys(sorted(shift.gpu for shift in shifts))), sorted({shift.night for shift in shifts})
    percent = np.full((len(gpus), len(nights)), np.nan)
    for shift in shifts:
        percent[gpus.index(shift.gpu), nights.index(shift.night)] = 100 * (shift.unusual - 1)
    few = len(gpus) <= LINES
    traces = _lines(gpus, nights, percent) if few else [_map(gpus, nights, percent)]
    worst = max(shifts, key=lambda shift: abs(shift.unusual - 1))
    alt = (
        f"Shift of {len(gpus)} GPU{'s' if len(gpus) > 1 else ''} over {len(nights)} nights; the largest is "
        f"{show(worst.unusual, 'change')} on {worst.gpu}, night of {worst.night}."
    )
    height = 300 if few else 160 + 18 * len(gpus)
    return Chart("shift", alt, [View("shift", go.Figure(traces, _layout(nights, few)), height)], legend=False)


def _lines(gpus: Sequence[str], nights: Sequence[str], percent: np.ndarray) -> list[go.Scatter]:
    names = [html.escape(gpu) for gpu in gpus]  # Plotly reads tags in what it writes
    return [
        go.Scatter(
            x=list(nights),
            y=[None if np.isnan(value) else round(float(value), 4) for value in percent[i]],
            mode="lines+markers",
            name=name,
            connectgaps=False,
            line={"width": 1.5, "color": HUES[i % len(HUES)], "dash": DASHES[i // len(HUES)]},
            marker={"size": 5},
            hovertemplate=f"{name}<br>%{{x}}: %{{y:+.2f}}%<extra></extra>",
        )
        for i, name in enumerate(names)
    ]


def _map(gpus: Sequence[str], nights: Sequence[str], percent: np.ndarray) -> go.Heatmap:
    most = max(1.0, float(np.nanmax(np.abs(percent))))
    return go.Heatmap(
        z=np.round(percent, 4),
        x=list(nights),
        y=[html.escape(gpu) for gpu in gpus],
        zmin=-most,
        zmax=most,
        colorscale=SCALE,
        xgap=1,
        ygap=1,
        colorbar={"title": {"text": "shift"}, "ticksuffix": "%", "thickness": 12},
        hovertemplate="%{y}<br>%{x}: %{z:+.2f}%<extra></extra>",
    )


def _layout(nights: Sequence[str], few: bool) -> dict[str, object]:
    across = {
        "type": "date" if all(len(night) == 10 for night in nights) else "category",
        "nticks": 8,
        "automargin": True,
        "zeroline": False,
    }
    down = {"automargin": True, "title": {"text": "all series together"}, "ticksuffix": "%", "zeroline": True, "zerolinecolor": GUIDE}
    return {
        **BARE,
        "showlegend": few,
        "legend": {"orientation": "h", "x": 0, "y": -0.18, "yanchor": "top"},
        "hovermode": "closest",
        "hoverlabel": HOVER,
        "margin": {"l": 56, "r": 16, "t": 16, "b": 40},
        "xaxis": across,
        "yaxis": down if few else {"automargin": True, "type": "category", "autorange": "reversed"},
    }
