"""Heat maps of the matmuls: how much of the peak each shape reaches."""

from __future__ import annotations

import json

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from reports.charts import BARE, Chart, View
from reports.page import render
from reports.palette import HEAT
from reports.pick import largest
from reports.report import Report
from reports.sections.base import Section
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
    views = [_view(str(name), group, metric) for name, group in _with_dims(frame).groupby("view", sort=True)]
    chart = Chart("heatmap", _alt(frame, metric), views, choose="Precision and layout", legend=False)
    return Section("heatmap", title, lead, render("chart_only.html.j2", chart=chart), [chart])


def _with_dims(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds m, the other dims in words (`rest`), and the view that a point belongs to: precision and options that are not default."""
    dims = frame["dims"].map(json.loads)
    rest = dims.map(lambda d: " × ".join(str(size) for name, size in d.items() if name != "m"))
    order = dims.map(lambda d: [size for name, size in d.items() if name != "m"])
    options = (
        frame["options"].map(json.loads).map(lambda o: " · ".join(v for v in o.values() if v not in ("batched", "contiguous", "normal")))
    )
    return frame.assign(m=dims.map(lambda d: d.get("m", 0)), rest=rest, order=order, view=frame["precision"] + " · " + options)


def _view(name: str, frame: pd.DataFrame, metric: str) -> View:
    filled = frame.groupby(["m", "rest"]).ngroups / (frame["m"].nunique() * frame["rest"].nunique())
    grid = filled >= MIN_FILLED and frame["m"].nunique() > 1
    maps = _grids(frame, metric) if grid else [("", _shapes(frame, metric))]
    rows = [len(m.y) for _, m in maps]
    fig = make_subplots(
        len(maps),
        1,
        shared_xaxes=grid,
        row_heights=rows,
        vertical_spacing=0.06 if len(maps) > 1 else 0,
        subplot_titles=[t for t, _ in maps],
    )
    for row, (_, trace) in enumerate(maps, 1):
        fig.add_trace(trace, row, 1)
    bar = {"tickformat": ".0%", "thickness": 12, "outlinewidth": 0, "lenmode": "pixels", "len": 130, "y": 1, "yanchor": "top"}
    bar["title"] = {"text": "MFU" if metric == "mfu" else "of peak"}
    scale = {"colorscale": HEAT, "cmin": 0, "cmax": _own_peak(frame, metric), "colorbar": bar}
    fig.update_layout(**BARE, margin={"l": 64, "r": 16, "t": 32, "b": 56}, coloraxis=scale)
    fig.update_xaxes(type="category", showgrid=False, automargin=True)
    fig.update_yaxes(type="category", showgrid=False, automargin=True, autorange="reversed")
    if grid:
        fig.update_yaxes(title_text=" × ".join(name for name in json.loads(frame["dims"].iloc[0]) if name != "m"), title_standoff=12)
    fig.update_xaxes(title_text="m (rows of A and C)" if grid else "implementation", row=len(maps))
    return View(name, fig, max(220, 110 + 40 * (len(maps) - 1) + 26 * sum(rows)))


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
        x=[str(c) for c in columns],
        y=rows,
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
