"""What an H100 would do: a run without one predicts its times from the analytic cost."""

from __future__ import annotations

import pandas as pd

from kernels.cost_model import MFU_PEAK_FLOPS_PER_S
from kernels.registry import baseline_of
from reports.charts import Axis, Chart, View, figure, points
from reports.page import render
from reports.pick import CASE
from reports.report import Report
from reports.section import Section

TITLE = "Predicted times on an H100"
LEAD = (
    "Nothing here was measured on a GPU; these are the times that the cost model predicts for the same cases on an H100 "
    "SXM5, set beside those measured on this machine."
)
MAX_CASES = 300


def h100(report: Report) -> Section | None:
    """On a CPU run only; None on the others."""
    if not report.on_cpu:
        return None
    frame = report.frame[report.frame["h100_predicted_s"] > 0]  # a view launches nothing there
    if frame.empty:
        return Section("h100", TITLE, LEAD, empty="No point of this run has a prediction for an H100.")
    timed = frame[frame["median_s"].notna()]
    charts = [] if timed.empty else [_chart(timed)]
    cases = _cases(frame)
    body = render("h100.html.j2", charts=charts, cases=cases.head(MAX_CASES), more=max(0, len(cases) - MAX_CASES))
    return Section("h100", TITLE, LEAD, body, charts)


def _chart(timed: pd.DataFrame) -> Chart:
    here, there = timed["median_s"], timed["h100_predicted_s"]
    axes = Axis("Measured here", "s", here), Axis("Predicted on an H100", "s", there)
    fig = figure(points(timed, "median_s", "h100_predicted_s"), *axes)
    ratio = (here / there).median()
    alt = (
        f"Predicted H100 time over the time measured here for {len(timed)} points; "
        f"in the median the H100 would be {ratio:.3g} times as fast."
    )
    return Chart("h100", alt, [View("all", fig, 440)])


def _cases(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a case, whatever implements it: PyTorch's where there is one, since it has a time here."""
    others, untimed = frame["impl"] != frame["op"].map(baseline_of), frame["median_s"].isna()
    ordered = frame.assign(others=others, untimed=untimed).sort_values(["op", "precision", "flops", "others", "untimed"], kind="stable")
    cases = ordered.drop_duplicates(CASE)
    rate = cases["flops"] / cases["h100_predicted_s"]
    here = cases["median_s"] / cases["h100_predicted_s"]
    words = cases[["function", "equation", "shape", "layout"]].apply(lambda row: " · ".join(row.dropna()), axis=1)
    return cases.assign(case=words, h100_flops_per_s=rate, h100_mfu=rate / MFU_PEAK_FLOPS_PER_S, here_over_h100=here)
