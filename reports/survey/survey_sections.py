"""The sections of a survey's page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from reports.page import relative, render
from reports.palette import SURVEYED
from reports.section import Section
from reports.survey.shown import GROUPS, Shown, column, place_of
from reports.survey.slowness import SLOWER, by_point
from reports.survey.survey_charts import distribution
from reports.units import show

CARDS = 12  # accused GPUs that have a card; the table has all
LISTED = 10_000  # points of the table of points


@dataclass(frozen=True)
class Answer:
    """What was found, in words. lines: more of it, each with a palette tone. notes: what limits it."""

    headline: str
    tone: str
    lines: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()


def summary(shown: Shown, answer: Answer) -> Section:
    """The answer, what was measured, and how many GPUs are in which state."""
    survey = shown.run.file
    models = shown.gpus["model"].value_counts()
    what = {
        "models": ", ".join(f"{count:,} × {name}" for name, count in models.items()),
        "hosts": shown.gpus["host"].nunique(),
        "points": len(shown.found.points),
        "sweeps": ", ".join(survey.sweeps),
        "families": [(name, shown.found.families.count(name)) for name in shown.families],
    }
    states = [(name, shown.count(name), SURVEYED[name]) for name in SURVEYED if shown.count(name)]
    times = [survey.started_utc, survey.finished_utc or "not finished"]
    body = render("survey_summary.html.j2", answer=answer, what=what, states=states, times=times, gpus=len(shown.gpus))
    return Section("summary", "Summary", "What was found, and on what it rests.", body)


def accused(shown: Shown, folder: Path) -> Section | None:
    """A card for each GPU that is slow or has no time, the slowest first. folder: of the page, for links to the GPUs' pages."""
    found = shown.in_state("slow", "unusable", "watch")
    found = found.sort_values("status", key=lambda states: states.map(list(SURVEYED).index), kind="stable")
    if found.empty:
        return None
    cards = [_card(shown, int(str(row)), folder) for row in found.index[:CARDS]]
    lead = "GPUs that need a look, slow ones first: by how much, in what, and in what else they differ from the others of their model."
    body = render("survey_cards.html.j2", cards=cards, more=len(found) - len(cards), statuses=SURVEYED)
    return Section("accused", "Which GPUs", lead, body)


def _card(shown: Shown, row: int, folder: Path) -> dict[str, object]:
    gpu = shown.gpus.loc[row]
    families = [(name, float(gpu[SLOWER + name])) for name in shown.families]
    most = max([0.02, *(ratio - 1 for _, ratio in families if not math.isnan(ratio))])
    board = shown.run.boards.iloc[row]
    return {
        "name": gpu["point"],
        "status": gpu["status"],
        "slower": gpu["slower"],
        "place": place_of(gpu),
        "bars": [(name, ratio, max(0.0, min(1.0, (ratio - 1) / most)) if not math.isnan(ratio) else 0.0) for name, ratio in families],
        "differs": shown.differs.get(row, []),
        "reason": board["reason"] if board["status"] == "lost" else None,
        "uuid": gpu["gpu"],
        "page": page_of(shown, row, folder),
    }


def page_of(shown: Shown, row: int, folder: Path) -> str | None:
    """The address of a GPU's own page, where there is one."""
    page = shown.run.run_dir / str(shown.gpus.at[row, "directory"]) / "report.html"
    return relative(page, folder) if page.is_file() else None


def layout(shown: Shown) -> Section:
    """Racks with their slots, or hosts, each GPU a cell coloured by its slowness."""
    racks = _racks(shown)
    step = shown.scale
    known = any(name for name, _ in racks)
    lead = (
        f"Every GPU {'by rack and slot' if known else 'by host and index'}, coloured by how much slower it is than the median of its "
        "group. A click opens the GPU."
    )
    steps = [show(1 + factor * step, "change") for factor in (-1, 1, 2, 4)]
    body = render("survey_map.html.j2", racks=racks, steps=steps, statuses=SURVEYED)
    return Section("map", "Where they are", lead, body)


def _racks(shown: Shown) -> list[tuple[str, list[dict[str, object]]]]:
    """Racks in the order of their names, each with its hosts in the order of their slots; one without a name where no rack is known."""
    gpus = shown.gpus.assign(rack=_texts(shown.gpus, "rack"), slot=_texts(shown.gpus, "slot"))
    racks = []
    for rack in sorted(gpus["rack"].unique(), key=natural):
        hosts = gpus[gpus["rack"] == rack]
        order = hosts.groupby("host", sort=False)["slot"].first()
        lines = [
            _host(shown, str(name), str(order[name]), hosts[hosts["host"] == name])
            for name in sorted(order.index, key=lambda one: (natural(order[one]), natural(str(one))))
        ]
        racks.append((str(rack), lines))
    return racks


def _texts(gpus: pd.DataFrame, name: str) -> pd.Series:
    return gpus[name].astype(object).where(gpus[name].notna(), "").astype(str) if name in gpus else pd.Series("", gpus.index)


def natural(text: str) -> list[tuple[int, int, str]]:
    """A key that sorts numbers in names by their values: node-2 before node-10."""
    parts: list[tuple[int, int, str]] = []
    for is_number, part in _runs(text):
        parts.append((0, int(part), "") if is_number else (1, 0, part))
    return parts


def _runs(text: str) -> list[tuple[bool, str]]:
    found: list[tuple[bool, str]] = []
    for character in text:
        is_number = character.isascii() and character.isdigit()
        if found and found[-1][0] == is_number:
            found[-1] = (is_number, found[-1][1] + character)
        else:
            found.append((is_number, character))
    return found


def _host(shown: Shown, name: str, slot: str, gpus: pd.DataFrame) -> dict[str, object]:
    cells = [
        {
            "point": gpu.point,
            "status": gpu.status,
            "tone": tone(float(gpu.slower), shown.scale),
            "words": f"{gpu.point}: {gpu.status}, {show(float(gpu.slower), 'change')}",
        }
        for gpu in gpus.sort_values("index").itertuples()
    ]
    marked = gpus[gpus["status"].isin(("slow", "unusable"))]
    labels = [(f"GPU {gpu.index_}", show(float(gpu.slower), "change")) for gpu in marked.rename(columns={"index": "index_"}).itertuples()]
    return {"name": name, "slot": slot, "cells": cells, "labels": labels}


def tone(slower: float, step: float) -> str:
    """The class of a cell's colour: faster, as the others, and three degrees of slower; none without a time."""
    if math.isnan(slower):
        return "none"
    away = (slower - 1) / step
    edges = ((-1.0, "faster"), (1.0, "same"), (2.0, "slower1"), (4.0, "slower2"))
    return next((name for edge, name in edges if away <= edge), "slower3")


def spread_of_gpus(shown: Shown) -> Section:
    """The distribution over GPUs, of families and of points, and the table of points."""
    lead = (
        "How the GPUs spread, by family and at every point. A GPU that stands apart in one family only is slow in what limits that family."
    )
    if not shown.found.points:
        return Section("spread", "How they spread", lead, empty="No point was timed.")
    chart = distribution(shown)
    points = by_point(shown.found).sort_values("ratio", ascending=False)
    labels = shown.gpus["point"].to_numpy()
    rows = [(*row, labels[row.slowest]) for row in points.head(LISTED).itertuples(index=False)]
    body = render("survey_spread.html.j2", chart=chart, rows=[dict(zip([*points, "name"], row, strict=True)) for row in rows])
    return Section("spread", "How they spread", lead, body, [chart])


def table(shown: Shown) -> Section:
    """The table of every GPU."""
    lead = (
        "Every GPU, those that need attention first; sort by a heading, filter by the chips and menus, open a GPU by its name. Below the "
        "name of a GPU that is not fine stands in what it differs from the others."
    )
    chips = [(name, shown.count(name)) for name in SURVEYED if shown.count(name)]
    menus = [
        (name, sorted(shown.gpus[name].dropna().astype(str).unique())) for name in ("rack", "host", "model", "driver") if name in shown.gpus
    ]
    body = render(
        "points.html.j2",
        **{"chips": chips, "menus": menus, "total": len(shown.gpus), "statuses": SURVEYED, "things": "GPUs"},
        **{"searched": "host, rack, PCIe …"},
    )
    return Section("points", "Every GPU", lead, body)


def glossary(shown: Shown) -> Section:
    """Each column of the table."""
    described = [column(str(name)) for name in shown.gpus]
    groups = [(group, [one for one in described if one.group == group]) for group in GROUPS]
    lead = "Each column of the table of GPUs, its unit in the CSV, and its meaning."
    return Section("glossary", "Glossary", lead, render("glossary.html.j2", groups=[pair for pair in groups if pair[1]]))
