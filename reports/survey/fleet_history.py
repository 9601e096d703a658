"""Which GPU of a fleet is becoming slower: its time over the fleet's, survey by survey or night by night. Pure.

What a GPU is compared with is the fleet of the same time, so that another driver or a warmer summer, which reach all, are no trend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from reports.distributions import t_above
from reports.units import show
from reports.verdict.robust import MAD_EFFICIENCY, TO_SIGMA, Array, lag_correlation, medians, moderated

LEAST_TIMES = 8  # of a GPU: of fewer, a step and a trend look alike
LEAST_CHANGE = 0.01  # over the whole history: less is of no consequence
ACCUSED = 0.05  # GPUs that one look at a healthy fleet may call so, on average
MOST_PRIOR = 12.0  # times that the other GPUs' noise may weigh at most
LINE_EFFICIENCY = 0.9  # variance of a least squares slope over a Theil-Sen one's: 0.88 for 8 normal values, 3/pi for many (Sen, 1968)
FLOOR = 5e-4  # least noise that is believed: medians have steps


@dataclass(frozen=True)
class FleetHistory:
    """logs: of each GPU's time over the fleet's, [GPUs, times], NaN where it was not measured. days: of each time since the first."""

    gpus: list[str]
    times: list[str]  # names, for a reader
    days: Array
    logs: Array


NO_HISTORY = FleetHistory([], [], np.empty(0), np.empty((0, 0)))


def against_fleet(tonight: Array) -> Array:
    """Returns each GPU's median ratio to the median over the GPUs.

    tonight: log seconds [series, GPUs], NaN where not timed. A series counts that at least two GPUs timed; NaN where there is none.
    """
    shared = np.count_nonzero(~np.isnan(tonight), axis=1) > 1
    if not shared.any():
        return np.full(tonight.shape[1], np.nan)
    away = tonight[shared] - medians(tonight[shared])[:, None]
    return np.exp(medians(away.T))


def of_nights(times: Array, nights: Sequence[str], gpus: Sequence[str]) -> FleetHistory:
    """Returns the history over nights. times: log seconds [series, nights, GPUs], as the nightly verdict has them; a night's name begins
    with its date."""
    logs = np.log(np.array([against_fleet(times[:, night]) for night in range(times.shape[1])]).reshape(len(nights), len(gpus)))
    return FleetHistory(list(gpus), list(nights), _days(pd.to_datetime(pd.Series(list(nights), dtype=object))), logs.T)


def of_surveys(lines: pd.DataFrame) -> FleetHistory:
    """Returns the history over surveys. lines: a line a survey and GPU in the order of time, with `survey`, `started_utc`, `gpu` and
    `slower`, the ratio to the fleet."""
    surveys = lines.drop_duplicates("survey")
    wide = lines.pivot_table(index="gpu", columns="survey", values="slower", aggfunc="last", sort=False, dropna=False)
    logs = np.log(wide.reindex(columns=surveys["survey"]).to_numpy(float)) if len(lines) else np.empty((0, 0))
    times = surveys["started_utc"].dt.strftime("%Y-%m-%d %H:%M").tolist()
    return FleetHistory(wide.index.astype(str).tolist(), times, _days(surveys["started_utc"]), logs)


def _days(times: pd.Series) -> Array:
    return ((times - times.min()).dt.total_seconds() / 86400).to_numpy(float)


def trends(history: FleetHistory) -> pd.DataFrame:
    """Returns a line a GPU, by its name: `times` at which it was measured, `first` and `last` of them, `change` over that span as a ratio
    by the line through them, `p` of one that keeps its speed, and whether it is `becoming` slower.

    The line is Theil and Sen's: the median of the slopes of all pairs, which one bad survey does not bend. Its noise is what the GPU's own
    times leave, moderated over the GPUs, and counts how alike consecutive times are.
    """
    count = np.count_nonzero(~np.isnan(history.logs), axis=1)
    slope, rest = _lines(history.days, history.logs)
    enough = (count >= LEAST_TIMES) & np.isfinite(slope)
    p = np.full(len(count), np.nan)
    change = np.exp(slope * _span(history))
    if enough.any():
        freedom = MAD_EFFICIENCY * (count[enough] - 2.0)
        scale = TO_SIGMA * medians(np.abs(rest[enough])) * np.sqrt(count[enough] / (count[enough] - 2.0))
        variance, freedom = moderated(np.maximum(scale, FLOOR) ** 2, freedom, MOST_PRIOR)
        alike = lag_correlation(rest[enough])
        known = np.where(np.isnan(history.logs[enough]), np.nan, history.days)
        squares = np.nansum((known - np.nanmean(known, axis=1)[:, None]) ** 2, axis=1)
        error = np.sqrt(variance * (1 + alike) / (1 - alike) / LINE_EFFICIENCY / squares)
        p[enough] = t_above(slope[enough] / error, freedom)
    becoming = (p <= ACCUSED / max(int(np.count_nonzero(enough)), 1)) & (change >= 1 + LEAST_CHANGE)
    names = np.array([*history.times, None], dtype=object)
    first, last = _ends(history)
    table = {"times": count, "first": names[first], "last": names[last], "change": change, "p": p, "becoming": becoming}
    return pd.DataFrame(table, index=pd.Index(history.gpus, dtype=object))


def _lines(days: Array, logs: Array) -> tuple[Array, Array]:
    """Slope a day of each GPU's line, and what its times leave of it; NaN where there are no two times."""
    early, late = np.triu_indices(len(days), 1)
    apart = days[late] - days[early]
    pairs = apart > 0
    slopes = (logs[:, late[pairs]] - logs[:, early[pairs]]) / apart[pairs] if pairs.any() else np.full((len(logs), 1), np.nan)
    slope = medians(slopes)
    away = logs - slope[:, None] * days
    return slope, away - medians(away)[:, None] if len(days) else away


def _ends(history: FleetHistory) -> tuple[Array, Array]:
    """The places of each GPU's first and last time; that of None where there is no time."""
    known = ~np.isnan(history.logs)
    count, none = history.logs.shape[1], len(history.times)
    if not count:
        return (np.full(len(history.gpus), none),) * 2
    some = known.any(axis=1)
    first = np.where(some, known.argmax(axis=1), none)
    last = np.where(some, count - 1 - known[:, ::-1].argmax(axis=1), none)
    return first, last


def _span(history: FleetHistory) -> Array:
    """Days from each GPU's first time to its last."""
    days = np.array([*history.days, 0.0])
    first, last = _ends(history)
    return days[last] - days[first]


def becoming(found: pd.DataFrame) -> pd.DataFrame:
    """Returns the lines of `trends` whose GPUs are becoming slower, the largest change first."""
    return found[found["becoming"]].sort_values("change", ascending=False)


def trend_words(trend: Mapping[Any, Any], of: str) -> str:
    """Returns a line of `trends` in words, without the GPU's name. of: the plural of what a time is, such as surveys or nights."""
    change = show(float(trend["change"]) - 1, "fraction")
    return f"became {change} slower against the fleet over {trend['times']:,} {of}, {trend['first']} to {trend['last']}"
