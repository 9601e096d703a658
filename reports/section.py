"""What a section of a page is, and a remark in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from reports.charts import Chart


@dataclass(frozen=True)
class Section:
    """`lead` is one sentence on how to read it. `body` comes from a template of reports/page; a chart appears where the body calls it.

    A section with nothing to show has no body, and `empty` says why.
    """

    id: str
    title: str
    lead: str
    body: Markup = field(default_factory=Markup)
    charts: Sequence[Chart] = ()
    empty: str = ""


@dataclass(frozen=True)
class Remark:
    """One thing that stands out. `tone` is a palette tone; `point` is the id that it is about, if it is about one."""

    tone: str
    text: str
    point: str = ""
    after: str = ""
