"""Optimizer steps: the state that a method keeps, the bytes that a step moves, and the bandwidth that each implementation reaches."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from kernels.op import Point
from kernels.optimizer.spec import METHODS, OP, scheme
from kernels.parameter_copies import OPTIMIZER_STATES
from kernels.registry import point_of
from reports.charts import Axis, Chart, View, figure, points
from reports.page import render
from reports.pick import largest, pairs
from reports.report import Report
from reports.section import Section

TITLE = "Optimizer steps"
LEAD = (
    "A step is bound by memory: bandwidth reached is that of the compulsory bytes, each of weight, gradient and state once, so an "
    "implementation that writes temporaries reaches less of it."
)
MAX_ROWS = 300


def optimizer(report: Report) -> Section | None:
    """None where the run has no optimizer steps."""
    steps = report.frame[report.frame["op"] == OP.name]
    known = {i: point for i, row in steps.iterrows() if (point := point_of(row)) is not None}
    if not known:
        return None
    known = dict(sorted(known.items(), key=lambda item: _order(item[1])))
    rows = _with_bytes(steps.loc[list(known)], known.values()).assign(speedup=pairs(report.timed)["speedup"])
    timed = rows[rows["bandwidth_fraction"].notna()]
    charts = [] if timed.empty else [_chart(timed)]
    more = max(0, len(rows) - MAX_ROWS)
    body = render("optimizer.html.j2", charts=charts, kinds=_kinds(known.values()), rows=rows.head(MAX_ROWS), more=more)
    return Section("optimizer", TITLE, LEAD, body, charts)


def _order(point: Point) -> tuple[object, ...]:
    """By method, storage and size; what shares them stands together, one implementation under the other."""
    names = [*OP.impls]
    impl = names.index(point.impl) if point.impl in names else len(names)
    return [*METHODS].index(point.options["method"]), point.options["master"] != "none", point.precision, *point.dims.values(), impl


def _parameters(point: Point) -> int:
    return point.dims["tensors"] * point.dims["n"]


def _state(point: Point) -> float:
    """Bytes a parameter of what the method keeps."""
    return OPTIMIZER_STATES[point.options["method"]] * scheme(point).state


def _with_bytes(rows: pd.DataFrame, known: Iterable[Point]) -> pd.DataFrame:
    """Rows with the bytes that their points hold. state_measured is what tensors held besides everything but state and masters."""
    known = list(known)
    state = pd.Series([(_state(p) + scheme(p).master) * _parameters(p) for p in known], rows.index, dtype=float)
    others = pd.Series([(scheme(p).weights + scheme(p).gradients) * _parameters(p) for p in known], rows.index, dtype=float)
    added = rows["memory_bytes"] - state - others
    return rows.assign(
        method=[p.options["method"] for p in known],
        master=[p.options["master"] for p in known],
        parameters_a_tensor=[p.dims["n"] for p in known],
        state_bytes=state,
        state_measured=rows["tensor_memory_bytes"] - others - added,
        added_bytes=added,
        moved_bytes=rows["bytes_read"].astype(float) + rows["bytes_written"],
    )


def _kinds(known: Iterable[Point]) -> list[dict[str, object]]:
    """For each method and storage: bytes a parameter held, read and written, and FLOPs; the same on every device."""
    kinds = {(p.options["method"], p.precision, p.options["master"]): p for p in known}
    table = []
    for (method, precision, master), point in kinds.items():
        held, cost = scheme(point), OP.cost(OP.point(point.impl, precision, {"tensors": 1, "n": 1}, point.options), "cuda")
        total = held.weights + held.gradients + held.master + _state(point)
        names = {"method": method, "precision": precision, "master": master, "formula": METHODS[method].formula}
        moved = {"read": cost.bytes_read, "written": cost.bytes_written, "flops": cost.flops}
        table.append({**names, **moved, "held": held, "state": _state(point), "total": total})
    return table


def _chart(timed: pd.DataFrame) -> Chart:
    """Over the size of a tensor: on the left launches, on the right bandwidth."""
    x, y = timed["parameters_a_tensor"], timed["bandwidth_fraction"]
    axes = Axis("Parameters a tensor", "parameters", x), Axis("Bandwidth reached, of the device's", "", y)
    best = largest(timed, y)
    alt = (
        f"Fraction of the memory bandwidth over the size of a tensor for {len(timed)} optimizer steps, both axes logarithmic; "
        f"the highest is {best['bandwidth_fraction']:.0%}, by {best['impl']}."
    )
    return Chart("optimizer", alt, [View("all", figure(points(timed, "parameters_a_tensor", "bandwidth_fraction"), *axes), 440)])
