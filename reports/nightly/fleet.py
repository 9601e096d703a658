"""The GPUs of a history side by side tonight: conditions, sentinels, and how fast each is against the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from reports.history.schema import SENTINEL
from reports.nightly import nights as read
from reports.nightly.night_verdict import Judged
from reports.survey.fleet_history import against_fleet, of_nights, trend_words, trends

CONDITIONS = ("sm_clock_hz", "temperature_c", "power_w", "duty")  # medians over tonight's points


@dataclass(frozen=True)
class GpuTonight:
    """One GPU; None or NaN where something is not known. SI units in the names."""

    gpu: str
    host: str | None
    nights: int  # in which it was measured
    timed: int  # series, tonight
    shift: float  # of all its series tonight; a ratio
    against_fleet: float  # median over tonight's series of its time over the median of all GPUs
    change: float  # of that over the nights, as a ratio: by the line through them (reports.survey.fleet_history)
    becoming: str | None  # in words, where it is becoming slower
    throttled: int
    sm_clock_hz: float
    temperature_c: float
    power_w: float
    duty: float
    sentinels: tuple[tuple[str, float, float], ...]  # name, seconds, ratio to the median of its nights before

    @property
    def tonight(self) -> bool:
        return self.timed > 0


def fleet(database: duckdb.DuckDBPyConnection, judged: Judged, calendar: read.Calendar) -> list[GpuTonight]:
    """Every GPU of the judged nights, in their order. calendar: as `judge` was given."""
    tonight = read.run_line(database, judged.verdict.run)
    told = _conditions(database, tonight, calendar, judged.verdict.night).set_index("gpu")
    moved = read.sentinel_moves(read.sentinels(database, tonight, calendar), judged.verdict.night)
    times = judged.nights.times
    ratios = against_fleet(times[:, -1]) if times.shape[1] else np.full(times.shape[2], np.nan)
    over_nights = trends(of_nights(times, judged.nights.nights, judged.nights.gpus)).to_dict("records")
    shift = {one.gpu: one.unusual for one in judged.verdict.shifts if one.night == judged.verdict.night}
    found = []
    for i, gpu in enumerate(judged.nights.gpus):
        line: Mapping[Any, Any] = told.loc[gpu].to_dict() if gpu in told.index else {}
        seen = ~np.isnan(times[:, :, i])
        found.append(
            GpuTonight(
                gpu=gpu,
                host=line.get("host"),
                nights=int(np.count_nonzero(seen.any(axis=0))),
                timed=int(np.count_nonzero(seen[:, -1])),
                shift=shift.get(gpu, np.nan),
                against_fleet=float(ratios[i]),
                change=float(over_nights[i]["change"]),
                becoming=trend_words(over_nights[i], "nights") if over_nights[i]["becoming"] else None,
                throttled=int(line.get("throttled", 0)),
                **{name: float(line.get(name, np.nan)) for name in CONDITIONS},
                sentinels=tuple(moved.get(gpu, ())),
            )
        )
    return found


def _conditions(database: duckdb.DuckDBPyConnection, tonight: dict[str, Any], calendar: read.Calendar, night: str) -> pd.DataFrame:
    same = " AND ".join(f"{column} IS NOT DISTINCT FROM ${column}" for column in read.MACHINE)
    return database.execute(
        f"""
        SELECT {read.GPU} AS gpu, any_value(host) AS host, count(*) FILTER (status = 'throttled') AS throttled,
               {", ".join(f"median({column}) AS {column}" for column in CONDITIONS)}
        FROM history WHERE {same} AND {calendar.sql} = $night AND started_utc <= $started AND status <> '{SENTINEL}' GROUP BY ALL
        """,
        {column: tonight[column] for column in read.MACHINE} | {"night": night, "started": tonight["started_utc"]},
    ).df()


def conditions_known(gpus: Sequence[GpuTonight]) -> list[str]:
    """Those of CONDITIONS that are known of any GPU."""
    return [name for name in CONDITIONS if any(np.isfinite(getattr(gpu, name)) for gpu in gpus)]
