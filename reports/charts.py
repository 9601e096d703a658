"""A chart: Plotly figures that the page draws, one for each view that a reader can choose.

A trace's `customdata` holds frame rows, from which the page makes the hover text; `meta` names its precision and implementation, which
the buttons above the chart switch. Text and grid take their colour from the page's style sheet, so that they follow light and dark.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from reports.palette import impl_mark, precision_colour
from reports.units import tick

FEW = 2  # marks that a sentence shows as well as a picture


@dataclass(frozen=True)
class View:
    """One figure of a chart, under the name by which a reader chooses it."""

    name: str
    figure: go.Figure
    height: int = 520  # px


@dataclass(frozen=True)
class Chart:
    """`alt` says in words what the picture shows. `legend` shows precision and implementation buttons."""

    id: str
    alt: str
    views: Sequence[View]
    choose: str = "Show"  # label of the choice of view
    legend: bool = True
    note: str = ""

    @property
    def few(self) -> bool:
        """Whether it has marks, but too few for a picture: its `alt` then stands in its place."""
        traces = [trace for view in self.views for trace in view.figure.data]
        if not all(isinstance(trace, go.Scatter) for trace in traces):
            return False
        marks = [sum(len(t.customdata) for t in view.figure.data if t.customdata is not None) for view in self.views]
        return 0 < max(marks, default=0) <= FEW

    def keys(self, key: str) -> list[str]:
        """Precisions or implementations (`key`) of all views, in the order of first appearance."""
        metas = [trace.meta for view in self.views for trace in view.figure.data if isinstance(trace.meta, dict)]
        return list(dict.fromkeys(str(meta[key]) for meta in metas if key in meta))

    def to_json(self) -> str:
        views = [f'{{"height":{view.height},"figure":{view.figure.to_json()}}}' for view in self.views]
        return f"{json.dumps(self.id)}:[{','.join(views)}]"


def points(frame: pd.DataFrame, x: str, y: str) -> list[go.Scatter]:
    """A trace for each precision and implementation. float32 halves the page's share and is 1e-7 off: less than a pixel."""
    traces = []
    for keys, group in frame.groupby(["precision", "impl"], sort=False):
        precision, impl = map(str, keys)
        traces.append(
            go.Scatter(
                x=group[x].to_numpy(np.float32),
                y=group[y].to_numpy(np.float32),
                customdata=group.index.to_numpy(np.int32),
                mode="markers",
                name=f"{precision} {impl}",
                meta={"precision": precision, "impl": impl},
                marker={
                    "color": precision_colour(precision),
                    "symbol": impl_mark(impl),
                    "size": 8,
                    "opacity": 0.85,
                    "line": {"width": 0.5},
                },
                hovertemplate="%{hovertext}<extra></extra>",
            )
        )
    return traces


def guide(x: Sequence[float], y: Sequence[float], text: str, colour: str, dash: str = "solid", width: float = 1.5) -> go.Scatter:
    """A line that is no data: a roof, y = x."""
    line = {"color": colour, "dash": dash, "width": width}
    return go.Scatter(x=list(x), y=list(y), mode="lines", line=line, name=text, hovertemplate=f"{text}<extra></extra>")


def label(x: float, y: float, text: str, where: str) -> go.Scatter:
    """Words at a line's end; `where` is a Plotly text position."""
    return go.Scatter(x=[x], y=[y], mode="text", text=[text], textposition=where, textfont={"size": 11}, hoverinfo="skip")


HOVER = {"align": "left", "bgcolor": "#1d2530", "bordercolor": "#1d2530", "font": {"color": "#ffffff", "size": 12}}
BARE = {"template": None, "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)"}  # the page shows through


@dataclass(frozen=True)
class Axis:
    """A logarithmic axis, named by reports.units in `unit`: ticks at 1, 2 and 5 of each power of ten, closer ones where the values
    span less, and at the values themselves where these are few sizes. What is not positive has no place on it and counts for nothing."""

    title: str
    unit: str
    values: pd.Series  # what lies along it

    def layout(self) -> dict[str, object]:
        low, high = np.log10(positive(self.values))
        powers = range(int(np.floor(low)) - AROUND, int(np.ceil(high)) + AROUND + 1)
        sizes = few_sizes(self.values) if self.unit == "count" else []
        values = sizes or [digit * 10.0**power for power in powers for digit in digits(low, high)]
        every = 1 if sizes or high - low < 2 else 3  # over a wide range the names of 2 and 5 would run into one another
        names = [tick(value, self.unit) if i % every == 0 else "" for i, value in enumerate(values)]
        ticks = {"tickmode": "array", "tickvals": values, "ticktext": names, "ticks": "outside"}
        return {"type": "log", "title": {"text": self.title}, "automargin": True, "zeroline": False, "showline": True, **ticks}


def digits(low: float, high: float) -> tuple[float, ...]:
    """What stands before a power of ten at ticks: the fewest of DIGITS of which at least TICKS lie between powers low and high."""
    powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    inside = (some for some in DIGITS if sum(low <= np.log10(d) + power <= high for power in powers for d in some) >= TICKS)
    return next(inside, DIGITS[0])


def few_sizes(values: pd.Series) -> list[float]:
    """The sizes, where they are few and far enough from each other to be read as ticks; else none."""
    sizes = sorted(map(float, values[values > 0].unique()))
    apart = all(large >= APART * small for small, large in pairwise(sizes))
    return sizes if len(sizes) <= MOST_SIZES and apart else []


DIGITS = ((1, 2, 5), *(tuple(i / step for i in range(step, 10 * step)) for step in (1, 2, 5, 10)))
TICKS = 3  # that the data's range should show
MOST_SIZES, APART = 10, 1.3  # sizes that are ticks themselves; ratio of neighbours
AROUND = 2  # powers of ten that have ticks beyond the data, for a reader who pans


def figure(traces: Sequence[go.Scatter], x: Axis, y: Axis) -> go.Figure:
    """Both axes logarithmic."""
    layout = {
        **BARE,
        "showlegend": False,
        "hovermode": "closest",
        "hoverlabel": HOVER,
        "margin": {"l": 64, "r": 16, "t": 16, "b": 56},
        "xaxis": x.layout(),
        "yaxis": y.layout(),
    }
    return go.Figure(list(traces), layout)


def span(values: pd.Series, slack: float = 1.6) -> tuple[float, float]:
    """Range of positive values, a little wider, for lines that go past the points."""
    low, high = positive(values)
    return low / slack, high * slack


def positive(values: pd.Series) -> tuple[float, float]:
    """The smallest and the largest of the positive values; 1 and 1 where there is none."""
    some = values[values > 0]
    return (float(some.min()), float(some.max())) if len(some) else (1.0, 1.0)
