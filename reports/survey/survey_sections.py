"""The sections of a survey's page."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benches.run.side_by_side import disturbing, sentence
from reports.page import relative, render
from reports.palette import SURVEYED
from reports.section import Section
from reports.survey.families import ALL
from reports.survey.fleet_history import LEAST_CHANGE, LEAST_TIMES, FleetHistory, trends
from reports.survey.inventory import PLACES
from reports.survey.judge import SLOW, WATCH
from reports.survey.shown import ATTENTION, FAILING, FEW, GROUPS, SLOWER, Shown, about, column
from reports.survey.survey_charts import distribution, over_surveys
from reports.survey.words import common_place, failing, place, side_by_side, slower, slowness, trend_lines
from reports.units import show

CARDS = 12  # accused GPUs that have a card; the table has all
NAMED = 4  # accused GPUs of the summary
LISTED = 10_000  # points of the table of points


def summary(shown: Shown) -> Section:
    """The answer, what was measured, and how many GPUs are in which state."""
    survey, judged = shown.run.file, shown.judged
    models = shown.gpus["model"].value_counts()
    families = shown.judged.points.drop_duplicates("point")["family"].value_counts()
    what = {
        "models": ", ".join(f"{count:,} × {name}" for name, count in models.items()),
        "hosts": shown.gpus["host"].nunique(),
        "points": judged.points["point"].nunique(),
        "sweeps": ", ".join(survey.sweeps),
        "families": [(name, int(families[name])) for name in shown.families],
    }
    states = [(name, shown.count(name), SURVEYED[name]) for name in SURVEYED if shown.count(name)]
    times = [survey.started_utc, survey.finished_utc or "not finished"]
    body = render(
        "survey_summary.html.j2", **{"said": _said(shown), "what": what, "states": states, "times": times, "suspect": judged.suspect}
    )
    return Section("summary", "Summary", "What was found, and on what it rests.", body)


def _said(shown: Shown) -> list[tuple[str, str]]:
    """What stands out, with a palette tone: each accused GPU, what they have in common, and what could have been found."""
    boards, judged = shown.run.boards, shown.judged
    label = dict(zip(shown.gpus["gpu"], shown.gpus["point"], strict=True))
    accused = judged.accused
    said = [
        ("bad", f"{label[gpu['gpu']]} {failing(gpu)}" if gpu["state"] != SLOW else f"{label[gpu['gpu']]} is {slowness(judged, gpu)}")
        for _, gpu in accused.head(NAMED).iterrows()
    ]
    said += [("bad", f"{len(accused) - NAMED:,} more")] if len(accused) > NAMED else []
    shared = common_place(boards, list(accused["gpu"]))
    said += [("bad", shared)] if shared else []
    if found := side_by_side(shown.run):
        said.append(("caution" if disturbing(found) else "neutral", f"{sentence(found)}."))
    over_all = judged.spreads[judged.spreads["family"] == ALL]
    for gpus, detectable in zip(over_all["gpus"].tolist(), over_all["detectable"].tolist(), strict=True):
        kind = f" among {gpus:,} of a kind" if len(over_all) > 1 else ""
        said.append(("neutral", f"A GPU that is {slower(detectable)} slower is found in 95% of cases{kind}."))
    return said


def accused(shown: Shown, folder: Path) -> Section | None:
    """A card for each GPU that needs a look, the slowest first. folder: of the page, for links to the GPUs' pages."""
    found = shown.in_state(*ATTENTION)
    if found.empty:
        return None
    cards = [_card(shown, int(str(row)), folder) for row in found.index[:CARDS]]
    lead = "GPUs that need a look, slow ones first: by how much, in what, and in what else they differ from the others of their model."
    body = render("survey_cards.html.j2", cards=cards, more=len(found) - len(cards), statuses=SURVEYED)
    return Section("accused", "Which GPUs", lead, body)


def _card(shown: Shown, row: int, folder: Path) -> dict[str, object]:
    gpu = record(shown.gpus, row)
    verdict = record(shown.judged.gpus, int(np.flatnonzero(shown.judged.gpus["gpu"] == gpu["gpu"])[0]))
    families = [(name, float(gpu[SLOWER + name])) for name in shown.families]
    most = max([0.02, *(ratio - 1 for _, ratio in families if not math.isnan(ratio))])
    slow = verdict["state"] in (SLOW, WATCH)
    return {
        "name": gpu["point"],
        "status": gpu["status"],
        "words": slowness(shown.judged, verdict) if slow else "",
        "interval": (gpu["slower_low"], gpu["slower_high"]) if slow else None,
        "place": place(gpu),
        "bars": [(name, ratio, 0.0 if math.isnan(ratio) else max(0.0, min(1.0, (ratio - 1) / most))) for name, ratio in families],
        "timed": not math.isnan(gpu["slower"]),
        "differs": shown.differs.get(row, []),
        "about": about(record(shown.run.boards, row), verdict),
        "uuid": gpu["gpu"],
        "page": page_of(shown, row, folder),
    }


def record(table: pd.DataFrame, row: int) -> dict[str, Any]:
    """A line of a table, by the name of the column."""
    return {str(name): value for name, value in table.iloc[row].items()}


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
    body = render("survey_map.html.j2", racks=racks, steps=steps, statuses=SURVEYED, marked=ATTENTION)
    return Section("map", "Where they are", lead, body)


def _racks(shown: Shown) -> list[tuple[str, list[dict[str, object]]]]:
    """Racks in the order of their names, each with its hosts in the order of their slots; one without a name where no rack is known."""
    racks: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for gpu in shown.gpus[[name for name in ("rack", "slot", "host", "index", "point", "status", "slower") if name in shown.gpus]].to_dict(
        "records"
    ):
        rack, slot = (one if isinstance(one := gpu.get(name), str) else "" for name in PLACES)
        racks.setdefault(rack, {}).setdefault(str(gpu["host"]), []).append(
            {str(name): value for name, value in gpu.items()} | {"slot": slot}
        )
    return [
        (
            rack,
            [
                _host(name, hosts[name], shown.scale)
                for name in sorted(hosts, key=lambda one: (natural(hosts[one][0]["slot"]), natural(one)))
            ],
        )
        for rack, hosts in sorted(racks.items(), key=lambda pair: natural(pair[0]))
    ]


def natural(text: str) -> list[tuple[int, int, str]]:
    """A key that sorts numbers in names by their values: node-2 before node-10."""
    parts = re.split("([0-9]+)", text)  # every second one is a number
    return [(0, int(part), "") if i % 2 else (1, 0, part) for i, part in enumerate(parts) if part]


def _host(name: str, gpus: Sequence[Mapping[str, Any]], step: float) -> dict[str, object]:
    """A line of the map."""
    cells = [
        {**gpu, "tone": tone(gpu["slower"], step), "words": f"{gpu['point']}: {gpu['status']}, {show(gpu['slower'], 'change')}"}
        for gpu in sorted(gpus, key=lambda gpu: gpu["index"])
    ]
    labels = [(f"GPU {gpu['index']}", show(gpu["slower"], "change")) for gpu in cells if gpu["status"] in (SLOW, FAILING)]
    return {"name": name, "slot": gpus[0]["slot"], "cells": cells, "labels": labels}


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
    if shown.judged.points.empty:
        return Section("spread", "How they spread", lead, empty="No point was timed by enough GPUs to be compared.")
    chart = distribution(shown)
    points = shown.judged.points.sort_values("most", ascending=False).head(LISTED)
    labels = dict(zip(shown.gpus["gpu"], shown.gpus["point"], strict=True))
    body = render("survey_spread.html.j2", chart=chart, rows=points.assign(name=points["slowest"].map(labels)).to_dict("records"))
    return Section("spread", "How they spread", lead, body, [chart])


def past_surveys(shown: Shown, past: FleetHistory) -> Section | None:
    """Which GPUs are becoming slower, over the surveys of a history; None where there is none but this survey."""
    if len(past.times) < 2:
        return None
    found = trends(past)
    labels = dict(zip(shown.gpus["gpu"], shown.gpus["point"], strict=True))
    chart = over_surveys(past, found, labels)
    lead = (
        f"The time of each GPU over the fleet's, over {len(past.times)} surveys. A GPU is becoming slower where the line through its times "
        f"rises by more than chance explains, and by {show(LEAST_CHANGE, 'fraction')} or more; {LEAST_TIMES} surveys are needed."
    )
    body = render("survey_past.html.j2", chart=chart, lines=trend_lines(found, shown.run.boards), enough=len(past.times) >= LEAST_TIMES)
    return Section("past", "Over the surveys", lead, body, [chart])


def table(shown: Shown) -> Section:
    """The table of every GPU."""
    lead = (
        "Every GPU, those that need attention first; sort by a heading, filter by the chips and menus, open a GPU by its name. Below the "
        f"name stands in what it differs from the others of its model{'' if len(shown.gpus) <= FEW else ', where it is not fine'}."
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
    described = [column(str(name)) for name in shown.gpus if name != "group"]
    groups = [(group, [one for one in described if one.group == group]) for group in GROUPS]
    lead = "Each column of the table of GPUs, its unit in the CSV, and its meaning."
    return Section("glossary", "Glossary", lead, render("glossary.html.j2", groups=[pair for pair in groups if pair[1]]))
