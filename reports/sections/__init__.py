"""The page's sections in their order. A new one is a function from Report to Section, and an entry here."""

from collections.abc import Callable

from reports.report import Report
from reports.section import Section
from reports.sections.about import environment, glossary
from reports.sections.curves import curves
from reports.sections.gradient import gradient
from reports.sections.h100 import h100
from reports.sections.heatmap import heatmap
from reports.sections.inspection import inspection
from reports.sections.layout import layout
from reports.sections.memory import memory
from reports.sections.optimizer import optimizer
from reports.sections.parity import parity
from reports.sections.points import points
from reports.sections.precisions import precisions
from reports.sections.roofline import roofline
from reports.sections.summary import summary
from reports.sections.training import training
from reports.sections.versus import versus

# None: this section is about something that this run has nothing to do with.
SECTIONS: tuple[Callable[[Report], Section | None], ...] = (
    summary,
    curves,
    roofline,
    heatmap,
    parity,
    versus,
    layout,
    memory,
    optimizer,
    gradient,
    training,
    h100,
    inspection,
    points,
    precisions,
    environment,
    glossary,
)
