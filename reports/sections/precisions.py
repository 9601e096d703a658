"""The number formats: range, spacing, underflow and overflow."""

from __future__ import annotations

from kernels.precision_table import COLUMNS, rows
from reports.page import render
from reports.report import Report
from reports.section import Section

LEAD = (
    "Range and spacing of each format, from its bits: exponent bits set the range, mantissa bits the spacing. A 16-bit gradient of 1e-8 "
    "is 0 in fp16, which is why fp16 training scales its loss, and survives in bf16, whose neighbours of 1 lie eight times as far apart."
)


def precisions(report: Report) -> Section:
    """The same table in every report; formats that the run measured are marked."""
    measured = set(report.frame["precision"])
    body = render("precisions.html.j2", columns=COLUMNS, rows=rows(), measured=measured)
    return Section("precisions", "Number formats", LEAD, body)
