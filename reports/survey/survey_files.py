"""A survey's verdict for machines, as JSON. docs/fleet.md describes the fields."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from benches.run.side_by_side import compared
from reports.survey.families import FAMILIES
from reports.survey.fleet_history import trends
from reports.survey.judge import SLOW, WATCH
from reports.survey.survey_verdict import SurveyVerdict
from reports.survey.words import common_place, headline, tested_families, whereof

JSON_VERSION = 1  # grows where a field changes its meaning or goes; new fields may come
BOARD = ("host", "index", "model", "directory", "rack", "slot")
OF_GPU = ("state", "reason", "slower", "slower_low", "slower_high", "p", "points", "noisy", "throttled", "failed", "group")


def to_json(verdict: SurveyVerdict) -> str:
    """The whole verdict, ending in a line feed."""
    run, judged = verdict.run, verdict.judged
    fields = {
        "version": JSON_VERSION,
        "exit_code": judged.exit_code,
        "headline": headline(run, judged),
        "simulated": run.simulated,
        "run_dir": str(run.run_dir.resolve()),
        "started_utc": run.file.started_utc,
        "suspect": list(judged.suspect),
        "notes": list(verdict.notes),
        "shared_place": common_place(run.boards, list(judged.accused["gpu"])) or None,
        "side_by_side": [asdict(one) for one in compared({gpu.uuid: gpu.beside for gpu in run.file.gpus if gpu.beside})],
        "groups": _groups(verdict),
        "gpus": _gpus(verdict),
        "points": _lines(judged.points),
    }
    return json.dumps(fields, indent=1, allow_nan=False) + "\n"


def _groups(verdict: SurveyVerdict) -> list[dict[str, Any]]:
    spreads = verdict.judged.spreads
    return [
        {**group, "families": [_without_group(line) for line in _lines(spreads[spreads["group"] == group["group"]])]}
        for group in _lines(verdict.judged.groups)
    ]


def _without_group(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != "group"}


def _gpus(verdict: SurveyVerdict) -> list[dict[str, Any]]:
    boards = {str(line["gpu"]): line for line in _lines(verdict.run.boards)}
    tested = {group: tested_families(verdict.judged, group) for group in verdict.judged.groups["group"]}
    found = []
    over_surveys = trends(verdict.past)
    before = {str(name): line for name, line in verdict.history.to_dict("index").items()}
    for _, gpu in verdict.judged.gpus.iterrows():
        uuid, named = str(gpu["gpu"]), tuple(gpu["families"])
        calls = gpu["state"] in (SLOW, WATCH)
        earlier = before.get(uuid)
        found.append(
            {
                "gpu": uuid,
                **{name: boards[uuid].get(name) for name in BOARD},
                **{name: plain(gpu[name]) for name in OF_GPU},
                "families": {name: plain(gpu[f"slower {name}"]) for name in FAMILIES if name in tested[gpu["group"]]},
                "slow_in": whereof(named, tested[gpu["group"]]).removeprefix("in ") if calls else None,
                "differs": verdict.differences.get(uuid),
                "trend": _trend(over_surveys, uuid),
                "before": None if earlier is None else {name: int(earlier[name]) for name in ("judged", "slow")},
            }
        )
    return found


def _trend(over_surveys: pd.DataFrame, gpu: str) -> dict[str, Any] | None:
    """How a GPU's slowness changed over the surveys of the history; None without one."""
    if gpu not in over_surveys.index:
        return None
    return {name: plain(over_surveys.at[gpu, name]) for name in ("times", "first", "last", "change", "p", "becoming")}


def _lines(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): plain(value) for name, value in line.items()} for line in table.to_dict("records")]


def plain(value: object) -> Any:
    """A value as JSON has it: null for what is missing or not finite."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, bool | int | float | str) else str(value)
