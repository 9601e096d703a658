"""Forward against backward: FLOPs and times of a model's passes side by side, and the MFU of both by exact and by napkin FLOPs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from kernels import gradient as gradient_op
from kernels import transformer as transformer_op
from kernels.cost_model import MFU_PEAK_FLOPS_PER_S
from kernels.op import Point
from kernels.registry import point_of
from reports.charts import Axis, Chart, View, figure, guide, points, span
from reports.page import render
from reports.palette import GUIDE
from reports.report import Report
from reports.section import Section

TITLE = "Forward and backward"
LEAD = (
    "A backward pass multiplies twice as much as a forward pass: the ratio of their FLOPs is 2, less the gradients that are not needed, "
    "and a ratio of times above it is time between the products."
)
NAPKIN: dict[str, Callable[[Point], int]] = {
    gradient_op.OP.name: gradient_op.spec.napkin,
    transformer_op.OP.name: transformer_op.spec.napkin,
}
PASSES = ("forward", "backward", "both")
SHOWN = {"s": "median_s", "flops": "flops", "predicted_s": "predicted_s", "napkin": "napkin"}  # of each pass, by the rows' columns
MAX_CASES = 300


def gradient(report: Report) -> Section | None:
    """None where the run has no passes of models."""
    rows = report.frame[report.frame["op"].isin(NAPKIN)]
    known = {i: point for i, row in rows.iterrows() if (point := point_of(row)) is not None}
    if not known:
        return None
    cases = _cases(rows.loc[list(known)].assign(napkin=[NAPKIN[p.op](p) for p in known.values()], kind=[_kind(p) for p in known.values()]))
    paired = cases[cases["time_ratio"].notna()]
    charts = [] if paired.empty else [_chart(paired)]
    body = render(
        "gradient.html.j2",
        charts=charts,
        cases=cases.head(MAX_CASES),
        more=max(0, len(cases) - MAX_CASES),
        passes=PASSES,
        on_cpu=report.on_cpu,
    )
    return Section("gradient", TITLE, LEAD, body, charts)


def _kind(point: Point) -> str:
    """What is passed through, whatever the pass, in the words of the id: `block-2x2048x4096x32x14336-gelu`."""
    return point.id.removeprefix(f"{point.op}-{point.impl}-{point.precision}-").replace(f"-{point.options['pass']}-", "-", 1)


def _cases(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a case. PASS_s, PASS_flops, … are NaN and PASS_point empty where the run has no such pass. The index is the backward row's, or
    the first's, for a chart's marks to name."""
    which = rows["options"].map(lambda options: json.loads(options)["pass"])
    table = []
    for _, group in rows.groupby(["op", "impl", "precision", "kind"]):
        by_pass = {name: row for name, (_, row) in zip(which[group.index], group.iterrows(), strict=True)}
        first = by_pass.get("backward", group.iloc[0])
        made = {"index": first.name, **first[["op", "impl", "precision", "kind"]]}
        for name in PASSES:
            row: Mapping[str, Any] | pd.Series = by_pass.get(name, {})
            made |= {f"{name}_{column}": row.get(source, math.nan) for column, source in SHOWN.items()}
            made[f"{name}_point"] = row.get("point", "")
        table.append(made)
    found = pd.DataFrame(table).set_index("index")
    return found.assign(
        flops_ratio=found["backward_flops"] / found["forward_flops"],
        time_ratio=found["backward_s"] / found["forward_s"],
        sum_ratio=found["both_s"] / (found["forward_s"] + found["backward_s"]),
        mfu=found["both_flops"] / found["both_s"] / MFU_PEAK_FLOPS_PER_S,
        napkin_mfu=found["both_napkin"] / found["both_s"] / MFU_PEAK_FLOPS_PER_S,
        over_predicted=found["both_s"] / found["both_predicted_s"],
    )


def _chart(paired: pd.DataFrame) -> Chart:
    """Over the forward pass's time: short passes are launches, of which backward has more than twice as many."""
    ends = span(paired["forward_s"])
    traces = [guide(ends, [2, 2], "twice forward", GUIDE), *points(paired, "forward_s", "time_ratio")]
    ratios = pd.concat([paired["time_ratio"], pd.Series([1.0, 3.0])])
    fig = figure(traces, Axis("Forward pass", "s", paired["forward_s"]), Axis("Backward over forward, times", "ratio", ratios))
    median = paired["time_ratio"].median()
    alt = f"Time of the backward pass over that of the forward pass for {len(paired)} of the cases; the median is {median:.2f}."
    return Chart("gradient", alt, [View("all", fig, 420)])
