"""A survey's verdict as sentences, the same on the terminal, in JSON and on the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from benches.run.side_by_side import Beside, compared
from reports.survey.families import ALL, FAMILIES
from reports.survey.fleet_history import becoming, trend_words
from reports.survey.judge import SLOW, UNUSABLE, Judged
from reports.survey.survey_run import SurveyRun
from reports.units import SPACE, show

GPU = f"GPU{SPACE}"
LEAST_GPUS_OF_A_PLACE = 2  # slow ones, for what they share to be worth a line


def name_of(gpu: Any) -> str:
    """Host and index; gpu: a line of SurveyRun.boards."""
    return f"{gpu['host']} {GPU}{gpu['index']}"


def slower(ratio: float) -> str:
    """A ratio of times as it reads before `slower`: 5.1%."""
    return show(ratio - 1, "fraction")


def whereof(families: Sequence[str], tested: Sequence[str]) -> str:
    """What a GPU is slow in: `in memory`; `overall` where it is so in every family that was tested, or in none by itself."""
    if not families or set(families) >= set(tested):
        return "overall" if len(tested) != 1 else f"in {tested[0]}"
    return f"in {' and '.join(families)}"


def tested_families(judged: Judged, group: int) -> list[str]:
    """Returns the families in which GPUs of a group were compared, in the order of FAMILIES."""
    spreads = judged.spreads[judged.spreads["group"] == group]
    return [name for name in FAMILIES if (spreads["family"] == name).any()]


def slowness(judged: Judged, gpu: Any) -> str:
    """By how much a GPU is slower, and in what; gpu: a line of Judged.gpus that is slow or watched."""
    tested = tested_families(judged, int(gpu["group"]))
    in_what = whereof(gpu["families"], tested)
    ratio = gpu["slower"] if in_what == "overall" else gpu["worst"]
    return f"{slower(float(ratio))} slower {in_what}"


def others(judged: Judged, gpu: Any) -> str:
    """The ratios of the families in which a GPU is not slow, where `slowness` names one that it is slow in; else empty."""
    tested = tested_families(judged, int(gpu["group"]))
    if whereof(gpu["families"], tested) == "overall":
        return ""
    rest = [name for name in tested if name not in gpu["families"] and pd.notna(gpu[f"slower {name}"])]
    return ", ".join(f"{name} {show(float(gpu[f'slower {name}']), 'change')}" for name in rest)


def failing(gpu: Any) -> str:
    """Empty for a GPU that fails no point that most others time."""
    count = int(gpu["failed"])
    return f"fails {count:,} point{'s' if count > 1 else ''} that most others time" if count else ""


def headline(run: SurveyRun, judged: Judged) -> str:
    """The answer in one sentence."""
    accused, total = judged.accused, len(judged.gpus)
    every = f"{total:,} GPU{'s' if total != 1 else ''}"
    if not len(accused):
        return _nothing(judged, every)
    names = run.boards.set_index("gpu")
    worst = accused.iloc[0]
    slow = int((accused["state"] == SLOW).sum())
    told = failing(worst) or slowness(judged, worst)
    what = f"{slow:,} of {every} {'is' if slow == 1 else 'are'} slow" if slow else ""
    fails = int((accused["failed"] > 0).sum())
    if fails:
        counted = f", and {fails:,}" if what else f"{fails:,} of {every}"
        what += f"{counted} fail{'s' if fails == 1 else ''} points that most others time"
    first = name_of(names.loc[worst["gpu"]])
    return f"{what}: {first}, {told}." if len(accused) == 1 else f"{what}; the worst is {first}: {told}."


def _nothing(judged: Judged, every: str) -> str:
    over_all = judged.spreads[judged.spreads["family"] == ALL]
    if over_all.empty:
        alone = "one GPU has no others to be compared with"
        return f"No verdict: {alone if len(judged.gpus) == 1 else f'none of {every} could be compared with the others'}."
    unjudged = int((judged.gpus["state"] == UNUSABLE).sum())
    rest = f"{unjudged:,} could not be judged; " if unjudged else ""
    if over_all["detectable"].isna().any():
        return f"No slow GPU among {every}: {rest}so few that one which is slow may not be found."
    return f"No slow GPU among {every}: {rest}one that is {slower(float(over_all['detectable'].max()))} slower is found in 95% of cases."


def side_by_side(run: SurveyRun) -> list[Beside]:
    """Returns what the GPUs lose while the others of their node work; empty where that was not compared."""
    return compared({name_of(gpu.model_dump()): gpu.beside for gpu in run.file.gpus if gpu.beside})


def common_place(boards: pd.DataFrame, gpus: Sequence[str]) -> str:
    """The rack, or else the host, that several GPUs share while others are elsewhere; empty where they share none."""
    here = boards["gpu"].isin(list(gpus))
    if int(here.sum()) < LEAST_GPUS_OF_A_PLACE:
        return ""
    for name, words in (("host", "on host"), ("rack", "in rack")):
        if name not in boards:
            continue
        places = boards.loc[here, name]
        if places.notna().all() and places.nunique() == 1 and (boards.loc[~here, name] != places.iloc[0]).any():
            return f"All {int(here.sum()):,} are {words} {places.iloc[0]}."
    return ""


def place(board: Any) -> str:
    """Rack and slot, as far as the inventory names them."""
    return ", ".join(f"{name} {board[name]}" for name in ("rack", "slot") if name in board and pd.notna(board[name]))


def trend_lines(found: pd.DataFrame, boards: pd.DataFrame) -> list[str]:
    """Returns a line for each GPU that is becoming slower over the surveys of a history, the largest change first. found: of `trends`;
    boards: of the survey that is shown, whose GPUs alone are named."""
    label = {str(board["gpu"]): name_of(board) for board in boards.to_dict("records")}
    return [f"{label[gpu]} {trend_words(trend, 'surveys')}" for gpu, trend in becoming(found).to_dict("index").items() if gpu in label]
