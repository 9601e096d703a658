"""Memory: what a point should hold beside what its tensors held and what its kernels took as scratch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from kernels.allocator import MIB, most_rounding
from kernels.precisions import PRECISIONS
from reports.charts import Axis, Chart, View, figure, guide, points, span
from reports.page import render
from reports.palette import GUIDE
from reports.pick import geometric_mean, largest
from reports.report import Report
from reports.section import Section

TITLE = "Memory"
LEAD = (
    "The memory that a point needs by its formula (operands, results and intermediates) beside the most that the allocator held while it "
    "ran. On the line they agree; above it, something was allocated that is not in the formula. Scratch is the part that no tensor held: a "
    "kernel took it for itself and gave it back. It depends on the library and the processor, and no formula covers it."
)
LARGEST = 12
TENSORS = 5  # at most, of one of these ops: an fp8 matmul's A, B, two scales and result
CUBLAS_WORKSPACE = 32 * MIB  # on Hopper, allocated at the first product and kept (PyTorch's CublasHandlePool: 4096 · 8 KiB)
NEAR = 0.02  # an excess that is so near to a multiple of something is taken for it


def memory(report: Report) -> Section | None:
    """None where no point's memory was measured: a simulated device allocates nothing."""
    frame = report.frame[report.frame["peak_memory_bytes"].notna()]
    if frame.empty:
        return None
    frame = frame.assign(excess=frame["tensor_memory_bytes"] - frame["memory_bytes"])
    off = frame[frame["peak_memory_bytes"] != frame["memory_bytes"]]
    order = off["memory_over_analytic"].map(np.log).abs().sort_values(ascending=False).index
    first = [(row, explain(row, report.on_cpu)) for _, row in off.loc[order].head(LARGEST).iterrows()]
    chart = Chart("memory", _alt(frame), [View("all", _figure(frame), 440)])
    values = {"rows": _summary(frame), "first": first, "more": max(0, len(off) - LARGEST), "on_cpu": report.on_cpu}
    return Section("memory", TITLE, LEAD, render("memory.html.j2", chart=chart, **values), [chart])


def explain(row: pd.Series, on_cpu: bool) -> str:
    """What the tensors' excess is as large as, which is what it most likely is. On a GPU the allocator's rounding comes first."""
    excess = float(row["excess"])
    if excess == 0:
        return "all of it scratch"
    if excess < 0:
        return "less than the formula: intermediates that were fused away, or results that share memory"
    if not on_cpu and excess <= most_rounding(TENSORS):
        return "within the allocator's rounding: 512 bytes a tensor, and up to 1 MiB where a block is not split"
    if not on_cpu and 0 <= excess - CUBLAS_WORKSPACE <= most_rounding(TENSORS):
        return "cuBLAS's workspace of 32 MiB, which its first call allocates and keeps"
    size = PRECISIONS[row["precision"]].bytes if row["precision"] in PRECISIONS else 4
    if size < 4 and _multiple(excess, 4 / size * row["bytes_read"]) == 1:
        return "as large as the operands in fp32: converted before computing"
    if times := _multiple(excess, row["bytes_written"]):
        return f"{times} × the result: {'an intermediate, or a buffer' if times == 1 else 'intermediates, or buffers'} beside it"
    return "a library's workspace" if excess < MIB else "workspace, or intermediates of another size"


def _multiple(excess: float, of: float) -> int:
    """How many times `of` fits, where it comes out even; else 0."""
    times = round(excess / of) if of else 0
    return times if times and abs(excess - times * of) <= NEAR * of else 0


def _figure(frame: pd.DataFrame) -> go.Figure:
    ends = span(frame["memory_bytes"])
    lines = [guide(ends, ends, "peak = analytic", GUIDE), guide(ends, [2 * v for v in ends], "twice the analytic memory", GUIDE, "dot", 1)]
    axes = Axis("Analytic memory", "B", frame["memory_bytes"]), Axis("Measured peak", "B", frame["peak_memory_bytes"])
    return figure([*lines, *points(frame, "memory_bytes", "peak_memory_bytes")], *axes)


def _summary(frame: pd.DataFrame) -> list[dict[str, object]]:
    """By family and implementation: how many agree to the byte without scratch, the mean ratios, the largest."""
    table = []
    for (op, impl), group in frame.groupby(["op", "impl"], sort=True):
        ratio = group["memory_over_analytic"]
        tensors = geometric_mean(group["tensor_memory_bytes"] / group["memory_bytes"])
        exact = float((group["excess"] == 0).mean())
        means = {"tensors": tensors, "mean": geometric_mean(ratio)}
        table.append({"op": op, "impl": impl, "points": len(group), "exact": exact, **means, "worst": largest(group, ratio)})
    return table


def _alt(frame: pd.DataFrame) -> str:
    exact = int((frame["excess"] == 0).sum())
    return f"Measured peak memory over analytic memory of {len(frame)} points, both logarithmic; {exact} agree to the byte without scratch."
