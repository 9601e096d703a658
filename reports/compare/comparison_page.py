"""The page of a comparison, with the columns of its table: label, unit and what each is."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benches.run.journal import NAME as JOURNAL
from kernels.writing import write_text
from reports.columns import Column, beside
from reports.compare.comparison import CHANGED, JUDGED, Comparison
from reports.compare.comparison_charts import pairs_chart
from reports.compare.words import how_judged, remarks, run_line
from reports.page import page, render
from reports.palette import VERDICTS
from reports.payload import libraries, pack, payload
from reports.section import Section

TITLE = "Runs side by side"
SCRIPTS = ("theme", "data", "charts", "detail", "table", "main")  # in the order in which they need one another
MAX_CHANGES = 200
VERDICT, POINT, RATIO, RUNS = "Verdict", "What was measured", "B over A", "In each run"
GROUPS = (VERDICT, RATIO, RUNS, POINT)
COLUMNS = (
    Column("status", "Verdict", "", VERDICT, "how the point changed from A to B", True, True),
    Column("point", "Point", "", POINT, "stable id of the point; it does not change between runs", True),
    Column("ratio", "B/A", "ratio", RATIO, "B's median over A's; above 1× B is slower", True, True),
    Column(
        "low",
        "95% from",
        "ratio",
        RATIO,
        "lower end of the ratio's interval; it covers variation within runs, between runs, and of a whole run",
        True,
        True,
    ),
    Column("high", "to", "ratio", RATIO, "upper end of that interval", True, True),
    Column(
        "at_least",
        "At least",
        "ratio",
        RATIO,
        "smallest change that the interval allows: its end nearest to 1×, or 1× if it contains 1×",
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
    Column("median_s_a", "Median A", "s", RUNS, "A's median; the geometric mean of the medians if A has several runs", True, True),
    Column("median_s_b", "Median B", "s", RUNS, "B's median, as A's", True, True),
    Column("half_a", "±CI A", "fraction", RUNS, "half the interval of A's median within the run, or between its runs, relative", True),
    Column("half_b", "±CI B", "fraction", RUNS, "half the interval of B's median within the run, or between its runs, relative", True),
    Column("samples_a", "Samples A", "count", RUNS, "timed samples in A"),
    Column("samples_b", "Samples B", "count", RUNS, "timed samples in B"),
    Column("status_a", "Status A", "", RUNS, "how the point ended in A"),
    Column("status_b", "Status B", "", RUNS, "how the point ended in B"),
    Column("sm_clock_hz_a", "SM clock A", "Hz", RUNS, "clock of the multiprocessors in A"),
    Column("sm_clock_hz_b", "SM clock B", "Hz", RUNS, "clock of the multiprocessors in B"),
    Column("noted", "Differs in", "", RUNS, "differences in code or timing method between the two runs", True, True),
    Column("reason", "Why", "", VERDICT, "reason for the verdict", False, True),
)
BY_NAME = {column.name: column for column in COLUMNS}
IDENTITY = ("op", "impl", "precision", "shape", "label", "options")
column = beside(BY_NAME, POINT)  # of `shown`


def write_page(found: Comparison, out: Path) -> Path:
    """Writes one HTML file that loads nothing; returns its path. Raises OSError where it cannot be written."""
    text = html(found)
    write_text(out, text)
    return out


def html(found: Comparison) -> str:
    sections = [_summary(found), _changes(found), _families(found), _pairs(found), _points(found), _environments(found), _judged(found)]
    charts = [chart for section in sections for chart in section.charts]
    data = payload(shown(found.table), charts, column, GROUPS, VERDICTS)
    return page(
        TITLE,
        f"A {found.a.name} · B {found.b.name}",
        sections,
        SCRIPTS,
        [*libraries(), ("data", pack(data))],
        instead="`python -m reports compare … --all` prints every pair",
        source=f"the {JOURNAL} of each run",
        simulated=found.a.environment.kind == "simulated",
        problems=[f"{name}: {problem}" for name, of in (("A", found.a), ("B", found.b)) for problem in of.problems],
    )


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """A comparison's table as page and CSV have it: `verdict` and `why` under the names that the table of points asks for."""
    halves = {f"half_{run}": (table[f"ci_high_s_{run}"] - table[f"ci_low_s_{run}"]) / 2 / table[f"median_s_{run}"] for run in "ab"}
    texts = {name: table[name].where(table[name] != "", None) for name in ("why", "noted")}
    frame = table.assign(status=table["verdict"], reason=texts["why"], noted=texts["noted"], **halves)
    return frame[[*BY_NAME, *IDENTITY]]


def _summary(found: Comparison) -> Section:
    lead = "The runs compared, how their environments differ, and which points changed, worst first; ratios are B's time over A's."
    runs = [("A", run_line(found.a)), ("B", run_line(found.b))]
    body = render("compare_summary.html.j2", runs=runs, differs=found.differs, remarks=remarks(found))
    return Section("summary", "Summary", lead, body)


def _changes(found: Comparison) -> Section:
    title, lead = "Changed status", "Points with another status in B than in A, and points that only one run has; they have no ratio."
    rows = found.of(*CHANGED)
    if rows.empty:
        return Section("changes", title, lead, empty="Every point is in both runs, and timed in both or in neither.")
    body = render("compare_changes.html.j2", rows=rows.head(MAX_CHANGES), verdicts=VERDICTS, more=max(0, len(rows) - MAX_CHANGES))
    return Section("changes", title, lead, body)


def _families(found: Comparison) -> Section:
    title = "By family"
    lead = (
        "Geometric means of B's time over A's, with 95% intervals, over the pairs whose times can be trusted. They hold for these points; "
        "other shapes may differ."
    )
    if not found.families:
        return Section("families", title, lead, empty="No point was timed in both runs in the same way.")
    return Section("families", title, lead, render("compare_families.html.j2", families=found.families, judged=JUDGED, verdicts=VERDICTS))


def _pairs(found: Comparison) -> Section:
    title, lead = "Pairs", "Each point that both runs timed in the same way: above 1× B is slower. A click opens the point."
    if found.pairs.empty:
        return Section("pairs", title, lead, empty="No point was timed in both runs in the same way.")
    chart = pairs_chart(found)
    return Section("pairs", title, lead, render("chart_only.html.j2", chart=chart), [chart])


def _points(found: Comparison) -> Section:
    lead = (
        "Every point of either run, those that need attention first; sort by a heading, filter by the chips and menus, open a point by its "
        "name. Pairs with the same verdict are sorted by the smallest change that their interval allows."
    )
    menus = [(name, sorted(found.table[name].unique())) for name in ("op", "impl", "precision")]
    chips = list(found.counts().items())
    body = render("points.html.j2", chips=chips, menus=menus, total=len(found.table), statuses=VERDICTS, ordered=True)
    return Section("points", "Every point", lead, body)


def _environments(found: Comparison) -> Section:
    several = max(len(found.a.reports), len(found.b.reports)) > 1
    lead = (
        f"environment.json of {'the last run of each side' if several else 'both'}; differences that may explain changed times are marked."
    )
    if not found.environment:
        return Section("environment", "Environments", lead, empty="Neither run has an environment.json that can be read.")
    return Section("environment", "Environments", lead, render("compare_environment.html.j2", fields=found.environment))


def _judged(found: Comparison) -> Section:
    lead = "The criteria for slower, faster, same and unclear, and the spread between runs that they use."
    body = render("compare_judged.html.j2", paragraphs=how_judged(found), spreads=found.spreads)
    return Section("judged", "How this was judged", lead, body)
