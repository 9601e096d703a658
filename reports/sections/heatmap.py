"""Heat maps of the matmuls: how much of the peak each shape reaches."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from kernels.registry import OPS
from reports.charts import BARE, Chart, View
from reports.page import render
from reports.palette import HEAT
from reports.pick import largest
from reports.report import Report
from reports.section import Section
from reports.units import show

MAX_ROWS = 40  # of one map; the largest shapes are kept
MIN_FILLED = 0.5  # of a map's cells, else the shapes are listed one below the other


def heatmap(report: Report) -> Section:
    """A GPU's maps show MFU, with the precision's own peak at the scale's dark end; a CPU's show the share of its measured peak."""
    metric = "peak_fraction" if report.on_cpu else "mfu"
    title = "Share of peak by shape" if report.on_cpu else "MFU by shape"
    lead = (
        f"A matmul's {'share of its measured peak' if report.on_cpu else 'MFU'} by shape; the darkest blue is that "
        "precision's own peak, so equal shades are equally well used hardware, and an empty cell has no time."
    )
    frame = report.timed[(report.timed["op"] == "matmul") & report.timed[metric].notna()]
    if frame.empty:
        why = "No matmul was timed" + ("." if report.timed[metric].notna().any() or report.timed.empty else ", and no peaks are known.")
        return Section("heatmap", title, lead, empty=why)
    groups = sorted(_with_dims(frame).groupby("view", sort=True), key=lambda named: -len(named[1]))  # the fullest map first
    views = [_view(str(name), group, metric) for name, group in groups]
    note = f"A map shows at most {MAX_ROWS} rows, those of the largest shapes; the table has all." if _cut(views) else ""
    chart = Chart("heatmap", _alt(frame, metric), views, choose="Precision and layout", legend=False, note=note)
    return Section("heatmap", title, lead, render("chart_only.html.j2", chart=chart), [chart])


def _cut(views: list[View]) -> bool:
    return any(len(trace.y) == MAX_ROWS for view in views for trace in view.figure.data)


def telling(chosen: Mapping[str, str]) -> list[str]:
    """The layout, and those options of a matmul that are not the default."""
    known = OPS["matmul"].options
    return [value for name, value in chosen.items() if name == "layout" or name not in known or value != known[name].default]


def _with_dims(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds m, the other dims in words (`rest`), and the view that a point belongs to: precision and options that are not default."""
    dims = frame["dims"].map(json.loads)
    rest = dims.map(lambda d: " × ".join(str(size) for name, size in d.items() if name != "m"))
    order = dims.map(lambda d: [size for name, size in d.items() if name != "m"])
    options = frame["options"].map(json.loads).map(lambda chosen: " · ".join(telling(chosen)))
    return frame.assign(m=dims.map(lambda d: d.get("m", 0)), rest=rest, order=order, view=frame["precision"] + " · " + options)


def _view(name: str, frame: pd.DataFrame, metric: str) -> View:
    filled = frame.groupby(["m", "rest"]).ngroups / (frame["m"].nunique() * frame["rest"].nunique())
    grid = filled >= MIN_FILLED and frame["m"].nunique() > 1
    maps = _grids(frame, metric) if grid else [("", _shapes(frame, metric))]
    across = "m (rows of A and C)" if grid else "implementation"
    down = " × ".join(name for name in json.loads(frame["dims"].iloc[0]) if name != "m") if grid else "shape"
    bar = {"tickformat": ".0%", "thickness": 12, "outlinewidth": 0, "lenmode": "pixels", "len": 130, "y": 1, "yanchor": "top"}
    bar["x"] = _width(maps)
    bar["title"] = {"text": "MFU" if metric == "mfu" else "of peak"}
    scale = {"colorscale": HEAT, "cmin": 0, "cmax": _own_peak(frame, metric), "colorbar": bar}
    layout = {**BARE, "margin": {"l": 64, "r": 16, "t": 32, "b": 56}, "coloraxis": scale, **_stacked(maps, across, down)}
    height = BORDERS + sum(TITLE_GAP + ROW * len(trace.y) for _, trace in maps)
    return View(name, go.Figure([trace for _, trace in maps], layout), max(220, height))


ROW, TITLE_GAP, BORDERS = 26, 34, 88  # px
MOST_COLUMNS = 7  # that share the whole width


def _width(maps: list[tuple[str, go.Heatmap]]) -> float:
    """Share of the chart's width: a few columns need not be stretched over all of it."""
    return min(1, max(0.3, max(len(trace.x) for _, trace in maps) / MOST_COLUMNS))


def _stacked(maps: list[tuple[str, go.Heatmap]], across: str, down: str) -> dict[str, object]:
    """Axes of maps one below the other, the first on top, each under its title; columns line up and are named under the last."""
    axis = {"type": "category", "showgrid": False, "automargin": True}
    width = _width(maps)
    heights = [TITLE_GAP + ROW * len(trace.y) for _, trace in maps]
    layout: dict[str, object] = {}
    titles = []
    top = 1.0
    for i, ((title, trace), height) in enumerate(zip(maps, heights, strict=True), 1):
        bottom, share = top - height / sum(heights), TITLE_GAP / sum(heights)
        n, last = "" if i == 1 else str(i), i == len(maps)
        trace.update(xaxis=f"x{n}", yaxis=f"y{n}")
        layout[f"xaxis{n}"] = {
            **axis,
            "anchor": f"y{n}",
            "domain": [0, width],
            "showticklabels": last,
            "title": {"text": across if last else ""},
        }
        rows = {"anchor": f"x{n}", "autorange": "reversed", "domain": [max(bottom, 0), top - share]}
        layout[f"yaxis{n}"] = {**axis, **rows, "title": {"text": html.escape(down), "standoff": 12}}
        titles.append(
            {
                "text": html.escape(title),
                "x": width / 2,
                "y": top - share,
                "xref": "paper",
                "yref": "paper",
                "yanchor": "bottom",
                "showarrow": False,
            }
        )
        top = bottom
    return {**layout, "annotations": titles}


def _own_peak(frame: pd.DataFrame, metric: str) -> float:
    """Where the scale ends: the metric at the precision's own dense peak, or the best value where that peak is not known."""
    peak = (frame[metric] / frame["peak_fraction"]).median()
    return float(peak) if peak > 0 else float(frame[metric].max())


def _grids(frame: pd.DataFrame, metric: str) -> list[tuple[str, go.Heatmap]]:
    """A map for each implementation, m across and the other dims down, on the same columns and rows so that they compare at a glance."""
    rows = frame.drop_duplicates("rest").sort_values("order")["rest"].tolist()[-MAX_ROWS:]
    columns = sorted(frame["m"].unique())
    return [(str(impl), _map(group, "rest", "m", rows, columns, metric)) for impl, group in frame.groupby("impl", sort=True)]


def _shapes(frame: pd.DataFrame, metric: str) -> go.Heatmap:
    """Shapes down, implementations across: for lists of shapes that span no grid."""
    rows = frame.drop_duplicates("shape").sort_values("flops")["shape"].tolist()[-MAX_ROWS:]
    return _map(frame, "shape", "impl", rows, sorted(frame["impl"].unique()), metric)


def _map(frame: pd.DataFrame, down: str, across: str, rows: list[str], columns: list[object], metric: str) -> go.Heatmap:
    cells = frame.drop_duplicates([down, across])
    table = cells.pivot(index=down, columns=across, values=metric).reindex(index=rows, columns=columns)
    ids = cells.assign(row=cells.index).pivot(index=down, columns=across, values="row").reindex(index=rows, columns=columns)
    return go.Heatmap(
        z=table.to_numpy(),
        x=[html.escape(str(c)) for c in columns],  # Plotly reads tags in what it writes on an axis
        y=[html.escape(row) for row in rows],
        customdata=ids.astype(object).where(ids.notna(), None).to_numpy(),
        text=[[show(v, "fraction") if pd.notna(v) else "" for v in line] for line in table.to_numpy()],
        texttemplate="%{text}",
        hovertemplate="%{hovertext}<extra></extra>",
        coloraxis="coloraxis",
        xgap=2,
        ygap=2,
    )


def _alt(frame: pd.DataFrame, metric: str) -> str:
    best = largest(frame, frame[metric])
    what = "MFU" if metric == "mfu" else "share of peak"
    return f"Heat maps of the {what} of {len(frame)} matmuls by shape; the best is {best['point']} with {show(best[metric], 'fraction')}."
