"""A line a series: the verdict on it, and tonight's time beside its level. The page's table, with its columns' labels, units, meanings."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from reports.columns import Column, beside
from reports.nightly.model import Change
from reports.nightly.night_verdict import Judged
from reports.nightly.words import cause, warning_line
from reports.verdict.robust import Array, medians

VERDICT, NIGHTS, POINT = "Verdict", "Over the nights", "What was measured"
GROUPS = (VERDICT, NIGHTS, POINT)
COLUMNS = (
    Column("status", "Status", "", VERDICT, "the verdict on the series", True, True),
    Column("point", "Point", "", POINT, "stable id of the point; it does not change between runs", True),
    Column(
        "nights",
        "Nights",
        "count",
        NIGHTS,
        "number of nights in which it was timed; the line shows its time with node shifts removed",
        True,
    ),
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
    Column("sigmas", "Off by", "sigma", NIGHTS, "distance of tonight's time from that level, in standard deviations of a night", True),
    Column("tonight_s", "Tonight", "s", NIGHTS, "median measured tonight; the median over GPUs if there are several", True, True),
    Column("level_s", "Level", "s", NIGHTS, "mean of the nights before tonight, without outliers, with node shifts removed", True, True),
    Column("sigma", "Noise", "fraction", NIGHTS, "standard deviation of a night about the level", True),
    Column("q", "q", "probability", NIGHTS, "false discovery rate at which tonight's change would be selected among all series"),
    Column("reason", "Why", "", VERDICT, "known facts about the change: likeliest cause, evidence, a second measurement", False, True),
)
BY_NAME = {column.name: column for column in COLUMNS}
OF_THE_POINT = ("op", "impl", "precision", "shape", "regime", "cache", "mode")
column = beside(BY_NAME, POINT)  # of `series_frame`
EARLIER = {"slower": "slower earlier", "faster": "faster earlier"}


def series_frame(judged: Judged) -> pd.DataFrame:
    """COLUMNS and what selects the point, in the order of `judged.nights.series`, which the packed arrays share."""
    table, tonight = judged.nights.series.reset_index(drop=True), judged.scan.tonight
    frame = pd.DataFrame({name: table[name] for name in ("point", *OF_THE_POINT) if name in table})
    with np.errstate(invalid="ignore"):
        frame = frame.assign(
            status=np.where(np.isnan(tonight.p), "too few nights", "steady"),
            nights=np.count_nonzero(~np.isnan(judged.shifted.values), axis=1),
            ratio=np.exp(tonight.difference),
            sigmas=tonight.difference / tonight.sigma,
            tonight_s=_tonight_s(judged.nights.times),
            level_s=np.exp(tonight.level),
            sigma=tonight.sigma,
            q=tonight.q,
            shape=pd.Series([_shape(dims) for dims in table["dims"]], frame.index, dtype=object),
            change=pd.Series(np.nan, frame.index),
            since=pd.Series(None, frame.index, dtype=object),
            reason=pd.Series(None, frame.index, dtype=object),
        )
    _tell(frame, judged)
    return frame[[*BY_NAME, *OF_THE_POINT]]


def _tell(frame: pd.DataFrame, judged: Judged) -> None:
    """Puts warnings and changes into the frame; of several changes of a series the last, and a warning stands over an earlier change."""
    verdict = judged.verdict
    latest = {change.series: change for change in sorted(verdict.changes, key=lambda change: change.confirmed_night)}
    for row, change in latest.items():
        _put(frame, row, status=_status(change), change=change.ratio, since=change.first_night, reason=_why(change))
    for warned in verdict.warnings:
        _put(frame, warned.series, status="warned", reason=warning_line(warned).removeprefix(f"{warned.point}: "))


def _put(frame: pd.DataFrame, row: int, **values: str | float) -> None:
    for name, value in values.items():
        frame.at[row, name] = value


def _status(change: Change) -> str:
    if change.accepted is not None:
        return "accepted"
    return change.direction if change.tonight else EARLIER[change.direction]


def _why(change: Change) -> str:
    accepted = f"accepted: {change.accepted}; " if change.accepted else ""
    return accepted + "; ".join([cause(change), *change.attribution.evidence])


def _tonight_s(times: Array) -> Array:
    """Seconds [series], of times: log seconds [series, nights, GPUs]; NaN for a series without a time tonight."""
    return np.exp(medians(times[:, -1])) if times.shape[1] else np.full(len(times), np.nan)


def _shape(dims: object) -> str | None:
    """Sizes of the dims in their order; None where none are known, as of what was imported."""
    if not isinstance(dims, str):
        return None
    return "×".join(map(str, json.loads(dims).values())) or None
