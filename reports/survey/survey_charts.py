"""The distribution of the GPUs over families and points, as Plotly figures."""

from __future__ import annotations

import html
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from reports.charts import BARE, HOVER, Chart, View
from reports.palette import GUIDE
from reports.survey.fleet_history import FleetHistory, becoming
from reports.survey.judge import FINE, SLOW, UNUSABLE, WATCH
from reports.survey.shown import ATTENTION, FAILING, SLOWER, Shown
from reports.units import show

STATE_MARKS = {  # colour and shape, so that neither stands alone
    **{SLOW: ("#d55e00", "triangle-up"), FAILING: ("#b5659a", "x"), WATCH: ("#e09a12", "diamond"), UNUSABLE: ("#7f8790", "x-thin-open")},
    FINE: ("#1a73c8", "circle"),
}
HUES = ("#1a73c8", "#d55e00", "#009e73", "#b5659a", "#e09a12", "#3c9fdc", "#7f8790", "#8a5a00")  # of lines
WIDTH = 0.32  # of a family's strip, half of it
LABELLED = 12  # GPUs that have their name beside their mark


def distribution(shown: Shown) -> Chart:
    """Two views: every GPU in a strip a family, and the range of the GPUs at every point."""
    slower = shown.gpus["slower"].dropna()
    worst = shown.gpus["point"].iloc[int(shown.gpus["slower"].fillna(0.0).argmax())] if len(slower) else ""
    last = f"; the slowest is {worst}, {show(float(slower.max()), 'change')}." if worst else "."
    alt = f"{len(slower):,} GPUs by how much slower they are than the median{last}"
    views = [View("GPUs, by family", _by_family(shown), 430), View("points, over the GPUs", _by_point(shown), 430)]
    note = (
        "By family each mark is a GPU: the median over its points of its time over the median of all GPUs. Over points the bands hold 50% "
        "and 90% of the GPUs; marks are GPUs that are slow or watched, and the slowest GPU of the point. A click opens the GPU."
    )
    return Chart("distribution", alt, views, legend=False, note=note)


def _by_family(shown: Shown) -> go.Figure:
    columns = {"all points": "slower"} | {name: SLOWER + name for name in shown.families}
    beside = {name: swarm(shown.gpus[name]) for name in columns.values()}
    traces: list[go.Scatter] = []
    marked = shown.gpus.index[shown.gpus["status"].isin(ATTENTION)]
    for state, (colour, symbol) in STATE_MARKS.items():
        here = shown.gpus["status"] == state
        x, y, rows = [], [], []
        for place, name in enumerate(columns.values()):
            known = here & shown.gpus[name].notna()
            x.append(place + beside[name][known.to_numpy()])
            y.append(_percent(shown.gpus.loc[known, name]))
            rows.append(shown.gpus.index[known])
        if sum(map(len, rows)):
            traces.append(_marks(np.concatenate(x), np.concatenate(y), np.concatenate(rows), state, colour, symbol))
    for place, name in enumerate(columns.values()):
        named = shown.gpus.loc[marked, name].dropna().nlargest(LABELLED // 2)
        far = named[named > 1 + 2 * shown.scale]
        traces.append(
            go.Scatter(
                x=place + beside[name][shown.gpus.index.get_indexer(far.index)],
                y=_percent(far),
                text=["  " + html.escape(str(shown.gpus.at[i, "point"])) for i in far.index],
                **{"mode": "text", "textposition": "middle right", "textfont": {"size": 11}, "hoverinfo": "skip", "showlegend": False},
            )
        )
    across = {"tickmode": "array", "tickvals": list(range(len(columns))), "ticktext": list(columns), "range": [-0.5, len(columns) - 0.3]}
    return _figure(traces, {**across, "zeroline": False, "showgrid": False, "automargin": True})


def swarm(values: pd.Series, bins: int = 70) -> np.ndarray:
    """Returns where in a strip each value stands, from -WIDTH to WIDTH: those that are close to one another stand beside each other."""
    known = values.to_numpy(float)
    found = np.zeros(len(known))
    finite = np.isfinite(known)
    if np.count_nonzero(finite) < 2:
        return found
    low, high = known[finite].min(), known[finite].max()
    box = np.floor((np.where(finite, known, low) - low) / max(high - low, 1e-12) * (bins - 1)).astype(int)
    counts = np.bincount(box[finite], minlength=bins)
    step = min(0.05, 2 * WIDTH / max(counts.max(), 1))
    for one in np.flatnonzero(counts):
        inside = np.flatnonzero(finite & (box == one))
        found[inside] = step * (np.arange(len(inside)) - (len(inside) - 1) / 2)
    return found


def _by_point(shown: Shown) -> go.Figure:
    points = shown.judged.points.sort_values(["family", "group", "q95"]).reset_index(drop=True)
    row_of = pd.Series(shown.gpus.index, index=shown.gpus["gpu"])
    x = np.arange(len(points))
    traces = _bands(x, *(_percent(points[name]) for name in ("q05", "q25", "q75", "q95")))
    slowest = row_of[points["slowest"]].to_numpy()
    traces.append(_of_points(shown, points, x, slowest, points["most"].to_numpy(), "slowest GPU of the point", (GUIDE, "line-ew-open")))
    for state in (WATCH, SLOW):
        marked = shown.in_state(state).index[:LABELLED]
        places, gpus, ratios = _ratios(shown, points, marked)
        if len(places):
            traces.append(_of_points(shown, points, places, gpus, ratios, state, STATE_MARKS[state]))
    ticks, names = _family_ticks(points["family"])
    across = {"tickmode": "array", "tickvals": ticks, "ticktext": names, "zeroline": False, "showgrid": False, "automargin": True}
    return _figure(traces, across)


def _family_ticks(families: pd.Series) -> tuple[list[float], list[str]]:
    """The middle of each family's points, and its name with how many there are."""
    places = [(name, np.flatnonzero(families == name)) for name in families.unique()]
    return [float(found.mean()) for _, found in places], [f"{name}, {len(found):,} points" for name, found in places]


def _ratios(shown: Shown, points: pd.DataFrame, gpus: pd.Index) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of these GPUs at every point that they timed: the place of the point, the row of the GPU, and its time over the group's median."""
    chosen = shown.gpus.loc[gpus, ["gpu", "group"]].rename_axis("row").reset_index()
    rows = shown.run.rows.loc[shown.run.rows["gpu"].isin(chosen["gpu"]), ["gpu", "point", "median_s"]].dropna()
    rows = rows.astype({"gpu": object, "point": object}).merge(chosen, on="gpu")
    placed = points[["group", "point", "median_s"]].rename_axis("place").reset_index()
    found = rows.merge(placed, on=["group", "point"], suffixes=("", "_of_group"))
    return found["place"].to_numpy(), found["row"].to_numpy(), (found["median_s"] / found["median_s_of_group"]).to_numpy()


def _of_points(
    shown: Shown, points: pd.DataFrame, places: np.ndarray, gpus: np.ndarray, ratios: np.ndarray, name: str, mark: tuple[str, str]
) -> go.Scatter:
    """Marks of GPUs at points; the pointer shows both."""
    labels = shown.gpus["point"].to_numpy()[gpus]
    texts = [
        f"{html.escape(str(point))}<br>{html.escape(str(gpu))}: {show(float(ratio), 'change')}"
        for point, gpu, ratio in zip(points["point"].to_numpy()[places], labels, ratios, strict=True)
    ]
    made = _marks(places, _percent(pd.Series(ratios)), gpus, name, *mark)
    return made.update(text=texts, hovertemplate="%{text}<extra></extra>")


def _marks(x: np.ndarray, y: np.ndarray, rows: np.ndarray, name: str, colour: str, symbol: str) -> go.Scatter:
    looked_at = name in ATTENTION  # no line joins them: the page makes marks of mode "markers" small where they are many
    how = {"mode": "lines+markers", "line": {"width": 0}} if looked_at else {"mode": "markers"}
    return go.Scatter(
        x=np.asarray(x, np.float32),
        y=np.asarray(y, np.float32),
        customdata=np.asarray(rows, np.int32),
        **{"name": name, "hovertemplate": "%{hovertext}<extra></extra>", **how},
        marker={"color": colour, "symbol": symbol, "size": 9 if looked_at else 6, "line": {"width": 0.5}},
    )


def _percent(ratios: pd.Series) -> np.ndarray:
    return np.round(100 * (ratios.to_numpy(float) - 1), 4)


def _figure(traces: Sequence[go.Scatter], across: dict[str, object]) -> go.Figure:
    down = {"title": {"text": "slower than the median"}, "ticksuffix": "%", "zeroline": True, "zerolinecolor": GUIDE, "automargin": True}
    return go.Figure(
        list(traces),
        {
            **BARE,
            "showlegend": True,
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
            "hovermode": "closest",
            "hoverlabel": HOVER,
            "margin": {"l": 56, "r": 16, "t": 32, "b": 40},
            "xaxis": across,
            "yaxis": down,
        },
    )


def over_surveys(past: FleetHistory, found: pd.DataFrame, labels: Mapping[str, str]) -> Chart:
    """Each GPU's slowness over the surveys: a line each where they are few, else a band of the fleet and lines of those that are becoming
    slower. found: of `trends`; labels: names by UUID."""
    percent = 100 * (np.exp(past.logs) - 1)
    few = len(past.gpus) <= len(HUES)
    shown = list(past.gpus) if few else list(becoming(found).index[: len(HUES) - 1])
    traces: list[go.Scatter] = [] if few else _bands(past.times, *quantiles(percent))
    for gpu, hue in zip(shown, HUES if few else HUES[1:], strict=False):
        name = html.escape(labels.get(gpu, gpu))
        line = percent[past.gpus.index(gpu)]
        traces.append(
            go.Scatter(
                x=past.times,
                y=[None if np.isnan(value) else round(float(value), 4) for value in line],
                **{"mode": "lines+markers", "name": name, "line": {"width": 1.6, "color": hue}, "marker": {"size": 5}},
                hovertemplate=f"{name}<br>%{{x}}: %{{y:+.2f}}%<extra></extra>",
            )
        )
    slower = int(found["becoming"].sum())
    alt = f"How much slower {len(past.gpus):,} GPUs were than the fleet, over {len(past.times)} surveys; {slower} become slower."
    note = "" if few else "The bands hold 50% and 90% of the GPUs of each survey."
    across = {"type": "date", "nticks": 8, "automargin": True, "zeroline": False, "showgrid": False}
    return Chart("past", alt, [View("past", _figure(traces, across), 340)], legend=False, note=note)


def quantiles(percent: np.ndarray) -> np.ndarray:
    """5%, 25%, 75% and 95% of each column; NaN where it has no value."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.round(np.nanquantile(percent, (0.05, 0.25, 0.75, 0.95), axis=0), 4)


def _bands(x: Any, low: np.ndarray, quarter: np.ndarray, upper: np.ndarray, high: np.ndarray) -> list[go.Scatter]:
    """90% and 50% of the GPUs."""
    traces = []
    for bottom, top, opacity, words in ((low, high, 0.18, "90% of the GPUs"), (quarter, upper, 0.35, "50% of the GPUs")):
        for values, how in ((bottom, None), (top, "tonexty")):
            traces.append(
                go.Scatter(
                    x=x,
                    y=values,
                    **{"mode": "lines", "line": {"width": 0}, "fill": how, "fillcolor": f"rgba(26,115,200,{opacity})", "hoverinfo": "skip"},
                    **{"name": words, "showlegend": how is not None},
                )
            )
    return traces
