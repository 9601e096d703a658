"""The columns of a comparison's table: label, unit and what each is."""

from __future__ import annotations

import pandas as pd

from reports.columns import Column, beside

VERDICT, POINT, RATIO, RUNS = "What became of it", "What was measured", "B over A", "In each run"
GROUPS = (VERDICT, RATIO, RUNS, POINT)
COLUMNS = (
    Column("status", "Verdict", "", VERDICT, "what became of the point from A to B", True, True),
    Column("point", "Point", "", POINT, "stable id, the same in every run", True),
    Column("ratio", "B/A", "ratio", RATIO, "B's median over A's; above 1× B is slower", True, True),
    Column(
        "low",
        "95% from",
        "ratio",
        RATIO,
        "lower end of the ratio's interval: within and between runs, and what moves a whole run",
        True,
        True,
    ),
    Column("high", "to", "ratio", RATIO, "upper end of that interval", True, True),
    Column(
        "at_least",
        "At least",
        "ratio",
        RATIO,
        "what is certain of the change: the interval's end nearest to 1×, 1× where it holds 1×",
        True,
    ),
    Column(
        "q",
        "q",
        "probability",
        RATIO,
        "false discovery rate at which the pair counts as changed; corrected for the number of pairs",
        True,
        True,
    ),
    Column("against_run", "Against the run", "ratio", RATIO, "B/A over the median B/A of the whole run", True, True),
    Column("median_s_a", "Median A", "s", RUNS, "A's median; of several runs the geometric mean of theirs", True, True),
    Column("median_s_b", "Median B", "s", RUNS, "B's median, as A's", True, True),
    Column("half_a", "±CI A", "fraction", RUNS, "half the interval of A's median within the run, or between its runs, relative", True),
    Column("half_b", "±CI B", "fraction", RUNS, "half the interval of B's median within the run, or between its runs, relative", True),
    Column("samples_a", "Samples A", "count", RUNS, "timed samples in A"),
    Column("samples_b", "Samples B", "count", RUNS, "timed samples in B"),
    Column("status_a", "Status A", "", RUNS, "how the point ended in A"),
    Column("status_b", "Status B", "", RUNS, "how the point ended in B"),
    Column("sm_clock_hz_a", "SM clock A", "Hz", RUNS, "clock of the multiprocessors in A"),
    Column("sm_clock_hz_b", "SM clock B", "Hz", RUNS, "clock of the multiprocessors in B"),
    Column("noted", "Differs in", "", RUNS, "what of the code or the way of timing differs between the two", True, True),
    Column("reason", "Why", "", VERDICT, "why the verdict is what it is", False, True),
)
BY_NAME = {column.name: column for column in COLUMNS}
IDENTITY = ("op", "impl", "precision", "shape", "label", "options")
column = beside(BY_NAME, POINT)  # of `shown`


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """A comparison's table as page and CSV have it: `verdict` and `why` under the names that the table of points asks for."""
    halves = {f"half_{run}": (table[f"ci_high_s_{run}"] - table[f"ci_low_s_{run}"]) / 2 / table[f"median_s_{run}"] for run in "ab"}
    texts = {name: table[name].where(table[name] != "", None) for name in ("why", "noted")}
    frame = table.assign(status=table["verdict"], reason=texts["why"], noted=texts["noted"], **halves)
    return frame[[*BY_NAME, *IDENTITY]]
