"""The napkin page's charts: days and the largest model against GPUs, memory of a GPU against ZeRO stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from kernels.napkin.memory import Memory
from reports.charts import BARE, Axis, Chart, View, figure, guide, label
from reports.napkin import evaluate
from reports.napkin.asked import Question
from reports.napkin.sensitivity import MEASURES
from reports.napkin.steps import Answer
from reports.palette import GUIDE, MEMORY_COLOURS, STAGE_COLOURS
from reports.units import compact

MOST_GPUS = 100_000
POINTS = 121  # of a curve
STAGES = range(4)
DAY_COLOURS = {"ideal": GUIDE, "with communication": STAGE_COLOURS[3], "does not fit the memory": STAGE_COLOURS[0]}


@dataclass(frozen=True)
class Titled:
    """A chart and the heading over it."""

    title: str
    chart: Chart


def plots(answer: Answer, name: str) -> list[Titled]:
    """The charts of one answer; `name` makes their ids differ from another answer's."""
    question = answer.question
    changes = [_changes(answer, f"{name}_changes")] if answer.sensitivity else []
    if question.ask not in ("training_time", "memory", "largest_model"):
        return changes
    charts = [_days(question, f"{name}_days")] if question.ask == "training_time" else []
    subject = question.subject
    parameters = subject.total if subject else evaluate.largest(question, question.gpus, question.split.zero)
    charts.append(_memory(question, parameters, f"{name}_memory"))
    return [*charts, *([] if question.ask == "memory" else [_largest(question, f"{name}_largest")]), *changes]


def _gpus(least: int = 1) -> list[float]:
    return np.geomspace(least, max(MOST_GPUS, least), POINTS).tolist()


def _line(x: Sequence[float], y: Sequence[float | None], name: str, colour: str, unit: str, dash: str = "solid") -> go.Scatter:
    texts = ["" if v is None else f"{compact(round(g))} GPUs: {compact(v)} {unit}" for g, v in zip(x, y, strict=True)]
    line = {"color": colour, "width": 2.2, "dash": dash}
    hover = f"%{{hovertext}}<extra>{name}</extra>"
    return go.Scatter(x=list(x), y=list(y), mode="lines", name=name, line=line, hovertext=texts, hovertemplate=hover)


def _mark(x: float, y: float, text: str) -> go.Scatter:
    """The question's own point."""
    marker = {"size": 11, "color": STAGE_COLOURS[3], "line": {"width": 2, "color": "#ffffff"}}
    return go.Scatter(x=[x], y=[y], mode="markers", marker=marker, showlegend=False, hovertemplate=f"{text}<extra></extra>")


def _log_figure(traces: Sequence[go.Scatter], y_title: str, unit: str) -> go.Figure:
    values = pd.Series([float(v) for trace in traces for v in trace.y if v is not None])
    gpus = pd.Series([float(v) for trace in traces for v in trace.x])
    return _with_legend(figure(traces, Axis("GPUs", "count", gpus), Axis(y_title, unit, values)))


def _with_legend(drawn: go.Figure) -> go.Figure:
    """Names of the lines above the plot: beside it they would take a phone's whole width."""
    legend = {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "bgcolor": "rgba(0,0,0,0)"}
    return drawn.update_layout(showlegend=True, legend=legend, margin={"l": 64, "r": 16, "t": 64, "b": 56})


def _days(question: Question, name: str) -> Titled:
    gpus = _gpus()
    traces = [_line(gpus, [evaluate.ideal_days(question, n) for n in gpus], "ideal", DAY_COLOURS["ideal"], "days", "dash")]
    note = "Communication is not counted: the question has no batch."
    batch, replica = question.batch, question.split.replica_gpus
    if batch:
        real = _gpus(replica)
        days = [evaluate.days(question, n) for n in real]
        fits = [_held(question, n) <= evaluate.free_bytes(question) for n in real]
        shown = {"with communication": fits, "does not fit the memory": [not fit for fit in fits]}
        for text, which in shown.items():
            if any(which):
                some = [day if w else None for day, w in zip(days, which, strict=True)]
                traces.append(_line(real, some, text, DAY_COLOURS[text], "days"))
        busy = batch.sequences / batch.micro * replica
        now = evaluate.days(question, question.gpus) or 0.0
        traces.append(_mark(question.gpus, now, f"{question.gpus:,.0f} GPUs: {compact(now)} days with attention and communication"))
        note = (
            f"From {replica:,} GPUs on, which hold one replica, attention counted too. A step has {batch.tokens:,.0f} tokens "
            f"however many GPUs there are: from {compact(busy)} GPUs on replicas outnumber micro-batches, and more GPUs do not help."
        )
    here = evaluate.ideal_days(question, question.gpus)
    traces.append(_mark(question.gpus, here, f"{question.gpus:,.0f} GPUs: {compact(here)} days, ideal"))
    alt = f"Days of training over 1 to {MOST_GPUS:,} GPUs, both axes logarithmic; "
    alt += f"{question.gpus:,.0f} GPUs take {compact(here)} days, ideally."
    return Titled("Days against GPUs", Chart(name, alt, [View("days", _log_figure(traces, "Days", "days"))], legend=False, note=note))


def _held(question: Question, gpus: float) -> float:
    return evaluate.memory(question, evaluate.subject_of(question).total, gpus, question.split.zero).memory.total


def _memory(question: Question, parameters: float, name: str) -> Titled:
    shape = None if question.architecture else evaluate.shape_of_size(parameters)
    held = [
        evaluate.memory(question, parameters, question.gpus, stage, shape if question.ask == "largest_model" else None).memory
        for stage in STAGES
    ]
    free = evaluate.free_bytes(question)
    traces: list[Any] = [_bar(part, held) for part in MEMORY_COLOURS if any(getattr(one, part) for one in held)]
    traces.append(guide([-0.5, 3.5], [free, free], f"a GPU has {compact(free)} B", GUIDE, dash="dash", width=2))
    traces += [
        label(stage, one.total, f"{compact(one.total, 3)} B", "top center").update(showlegend=False) for stage, one in enumerate(held)
    ]
    drawn = _with_legend(go.Figure(traces, BAR_LAYOUT))
    totals = "; ".join(f"stage {stage} {compact(one.total, 3)} B" for stage, one in enumerate(held))
    alt = f"Bytes on a GPU by ZeRO stage: {totals}. It has {compact(free)} B."
    note = f"{compact(parameters)} parameters on {question.gpus:,.0f} GPUs, each of which has {compact(free)} B for them."
    return Titled("Memory of a GPU against ZeRO stage", Chart(name, alt, [View("memory", drawn, 460)], legend=False, note=note))


def _bar(part: str, held: Sequence[Memory]) -> go.Bar:
    bytes_ = [float(getattr(one, part)) for one in held]
    texts = [f"ZeRO {stage}: {part} {compact(size)} B" for stage, size in enumerate(bytes_)]
    marker = {"color": MEMORY_COLOURS[part]}
    return go.Bar(x=list(STAGES), y=bytes_, name=part, marker=marker, hovertext=texts, hovertemplate="%{hovertext}<extra></extra>")


def _changes(answer: Answer, name: str) -> Titled:
    """Bars to both sides, the strongest assumption at the top."""
    what, found = MEASURES[answer.question.ask][0], list(reversed(answer.sensitivity))
    traces = []
    for text, colour, values in (
        ("10% less", STAGE_COLOURS[1], [one.less for one in found]),
        ("10% more", STAGE_COLOURS[3], [one.more for one in found]),
    ):
        hover = [f"{one.key}, {text}: {100 * value:+z.1f}% {what}" for one, value in zip(found, values, strict=True)]
        traces.append(
            go.Bar(
                x=[100 * value for value in values],
                y=[one.key for one in found],
                **{
                    "orientation": "h",
                    "name": text,
                    "marker": {"color": colour},
                    "hovertext": hover,
                    "hovertemplate": "%{hovertext}<extra></extra>",
                },
            )
        )
    axis = {"title": {"text": f"Change of {what}"}, "ticksuffix": "%", "automargin": True, "zeroline": True, "zerolinecolor": GUIDE}
    layout = {**BARE, "barmode": "overlay", "bargap": 0.35, "xaxis": axis, "yaxis": {"automargin": True}}
    drawn = _with_legend(go.Figure(traces, layout))
    alt = f"Change of {what} by 10% of each assumption: " + "; ".join(
        f"{one.key} {100 * one.less:+z.1f}% and {100 * one.more:+z.1f}%" for one in answer.sensitivity
    )
    height = 160 + 36 * len(found)
    return Titled("Effect of changing each assumption by 10%", Chart(name, f"{alt}.", [View("changes", drawn, height)], legend=False))


BAR_LAYOUT = {
    **BARE,
    "barmode": "stack",
    "bargap": 0.35,
    "xaxis": {"tickmode": "array", "tickvals": list(STAGES), "ticktext": [f"ZeRO {stage}" for stage in STAGES], "automargin": True},
    "yaxis": {
        **{"title": {"text": "Bytes of a GPU"}, "tickformat": "~s", "ticksuffix": "B", "rangemode": "tozero"},
        **{"automargin": True, "zeroline": False},
    },
}


def _largest(question: Question, name: str) -> Titled:
    gpus = _gpus(question.split.replica_gpus)
    traces = [
        _line(gpus, [evaluate.largest(question, n, stage) for n in gpus], f"ZeRO {stage}", STAGE_COLOURS[stage], "parameters")
        for stage in STAGES
    ]
    zero = question.split.zero
    here = evaluate.largest(question, question.gpus, zero)
    traces.append(_mark(question.gpus, here, f"{question.gpus:,.0f} GPUs, ZeRO {zero}: {compact(here)} parameters"))
    alt = f"Largest model over GPUs for each ZeRO stage; {question.gpus:,.0f} GPUs under stage {zero} hold {compact(here)} parameters."
    split = question.split
    note = (
        f"{compact(question.each.total)} B a parameter, {split.tensor} tensor × {split.pipeline} pipeline GPUs a replica; activations "
        "are not counted. Stages 0 to 2 keep whole weights on every replica, so more GPUs soon gain nothing."
    )
    return Titled(
        "Largest model against GPUs",
        Chart(name, alt, [View("largest", _log_figure(traces, "Parameters", "parameters"))], legend=False, note=note),
    )
