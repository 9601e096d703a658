"""The columns of the page's table of series: label, unit and what each is."""

from __future__ import annotations

from reports.columns import Column, beside

VERDICT, NIGHTS, POINT = "What became of it", "Over the nights", "What was measured"
GROUPS = (VERDICT, NIGHTS, POINT)
COLUMNS = (
    Column("status", "Status", "", VERDICT, "what the verdict says of the series", True, True),
    Column("point", "Point", "", POINT, "stable id, the same from night to night", True),
    Column("nights", "Nights", "count", NIGHTS, "in how many nights it was timed; the line is its time, node shifts taken out", True),
    Column("change", "Change", "change", NIGHTS, "time after its last confirmed change over the time before", True, True),
    Column("since", "Since", "", NIGHTS, "first night at the new level", True, True),
    Column(
        "ratio",
        "Tonight/level",
        "change",
        NIGHTS,
        "tonight's time, the node's shift taken out, over the level of the nights before",
        True,
        True,
    ),
    Column("sigmas", "Off by", "sigma", NIGHTS, "how far tonight lies from that level, in standard deviations of a night", True),
    Column("tonight_s", "Tonight", "s", NIGHTS, "median as measured tonight; of several GPUs the median of theirs", True, True),
    Column("level_s", "Level", "s", NIGHTS, "of the nights before tonight, outliers left out, node shifts taken out", True, True),
    Column("sigma", "Noise", "fraction", NIGHTS, "standard deviation of a night about the level", True),
    Column("q", "q", "probability", NIGHTS, "false discovery rate at which tonight's change would be selected among all series"),
    Column("reason", "Why", "", VERDICT, "what is known of the change: likeliest cause, evidence, a second measurement", False, True),
)
BY_NAME = {column.name: column for column in COLUMNS}
OF_THE_POINT = ("op", "impl", "precision", "shape", "regime", "cache", "mode")
column = beside(BY_NAME, POINT)  # of `series_frame`
