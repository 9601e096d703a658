"""What a verdict reads of a history, by DuckDB: tonight's lines, its series over the nights, sentinels, and the run before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from reports.history.schema import SENTINEL, SERIES
from reports.verdict.robust import Array

GPU = "coalesce(device_uuid, host, '?')"
TIMED = "status IN ('ok', 'noisy') AND median_s > 0"  # throttled times say what heat does
WAY = ("point", "regime", "cache")  # with `mode`, what a series is within a run
POINT_KEY = (*WAY, "mode")
MACHINE = tuple(name for name in SERIES if name not in POINT_KEY)  # one value a run
KEPT = ("device_kind", "device_name")  # of MACHINE, what makes a run comparable at all; where the others change, a new series begins
SAME_POINTS = ("sweep", "narrowed_by", *KEPT)  # runs that agree in these are expected to have the same points
RECENT = 7  # nights, whose points tonight's run is expected to have
DETAILS = (  # each column of each file costs time
    *("started_utc", "commit", "median_s", "config", "source_hash", "machine_code_hash", "driver", "torch", "triton", "cublas"),
    *("cuda_runtime", "cudnn", "tuned", "variables"),
    *("sm_clock_hz", "memory_clock_hz", "power_w", "temperature_c"),
)
SAME_WAY = "h.point = a.point AND h.regime IS NOT DISTINCT FROM a.regime AND h.cache IS NOT DISTINCT FROM a.cache"
SAME_KEY = f"{SAME_WAY} AND (h.mode = a.mode OR (h.mode IS NULL AND a.oldest))"


@dataclass(frozen=True)
class Calendar:
    """Which night a run is of: SQL of the night's name, computed from a line's `started_utc`."""

    sql: str


EACH_RUN = Calendar("strftime(started_utc, '%Y-%m-%d %H:%M:%S')")  # a night of its own


@dataclass(frozen=True)
class Nights:
    """times: log seconds [series, nights, GPUs], NaN where a series was not timed. `series` has a line a series, in that order; `oldest`:
    no other mode of its point was recorded before, so that lines of which none was recorded belong to it."""

    times: Array
    series: pd.DataFrame  # POINT_KEY, op, impl, precision, dims, oldest
    nights: list[str]
    gpus: list[str]


def gpu_of(tonight: Mapping[str, Any]) -> str:
    """As GPU says it in SQL."""
    return str(tonight["device_uuid"] or tonight["host"] or "?")


def night_from(hour_utc: int) -> Calendar:
    """Returns a calendar of one night a day, which begins at that hour and is named by the date of that day."""
    return Calendar(f"strftime(started_utc - INTERVAL {hour_utc} HOUR, '%Y-%m-%d')")


def run_line(database: duckdb.DuckDBPyConnection, run: str) -> dict[str, Any]:
    """What every line of a run says: schema.RUN. Raises KeyError for a run that the history lacks."""
    found = database.execute("SELECT * FROM history WHERE run = ? LIMIT 1", [run]).df()
    if found.empty:
        raise KeyError(run)
    return {str(k): (None if v is pd.NaT or (not isinstance(v, list) and pd.isna(v)) else v) for k, v in found.iloc[0].items()}


def lines(database: duckdb.DuckDBPyConnection, run: str) -> pd.DataFrame:
    """A run's points, sentinels left out."""
    return database.execute(f"SELECT * FROM history WHERE run = ? AND status <> '{SENTINEL}'", [run]).df()


def nights(database: duckdb.DuckDBPyConnection, tonight: dict[str, Any], calendar: Calendar, lookback: int, every: bool = False) -> Nights:
    """The series of tonight's run, over the last `lookback` nights up to it; with `every` those of all its nights' runs. A series has one
    time a night and GPU: the runs' median."""
    runs = _runs(database, tonight, calendar)
    night_names = sorted(runs["night"].unique())[-lookback:]
    runs = runs[runs["night"].isin(night_names)]
    series = _series(database, runs["run"].tolist(), runs["run"].tolist() if every else [tonight["run"]])
    gpu_names = sorted(runs["gpu"].unique())
    places = {"night": pd.Categorical(runs["night"], night_names).codes, "gpu": pd.Categorical(runs["gpu"], gpu_names).codes}
    database.register("asked", _keys(series))
    database.register("placed", runs[["run"]].assign(**places))
    found = database.execute(
        f"""
        SELECT a.series, r.night, r.gpu, median(ln(median_s)) AS log_s
        FROM history h JOIN placed r ON h.run = r.run JOIN asked a ON {SAME_KEY} WHERE {TIMED} GROUP BY ALL
        """
    ).fetchnumpy()
    times = np.full((len(series), len(night_names), len(gpu_names)), np.nan)
    times[found["series"], found["night"], found["gpu"]] = found["log_s"]
    timed = ~np.isnan(times).all(axis=(0, 2))  # a night of nothing but failures is none
    return Nights(times[:, timed], series, [name for name, told in zip(night_names, timed, strict=True) if told], list(gpu_names))


def _runs(database: duckdb.DuckDBPyConnection, tonight: dict[str, Any], calendar: Calendar) -> pd.DataFrame:
    """run, night and gpu of the runs up to tonight that may be set beside it."""
    same = " AND ".join(f"{name} IS NOT DISTINCT FROM ${name}" for name in MACHINE)
    return database.execute(
        f"SELECT DISTINCT run, {calendar.sql} AS night, {GPU} AS gpu FROM history WHERE {same} AND started_utc <= $started",
        {name: tonight[name] for name in MACHINE} | {"started": tonight["started_utc"]},
    ).df()


def _keys(series: pd.DataFrame) -> pd.DataFrame:
    """POINT_KEY and `oldest` of each series, with its index as `series`; what is missing is NULL."""
    keys = series[list(POINT_KEY)].astype(object)
    return keys.where(keys.notna(), None).assign(series=series.index, oldest=series["oldest"].astype(bool))


def _series(database: duckdb.DuckDBPyConnection, every: Sequence[str], those: Sequence[str]) -> pd.DataFrame:
    """Nights.series: those timed in the runs `those`. every: all runs that they are set beside, which tell what was recorded first."""
    database.register("every_run", pd.DataFrame({"run": list(every)}))
    database.register("those", pd.DataFrame({"run": list(those)}))
    return database.execute(
        f"""
        WITH a AS (
            SELECT {", ".join(WAY)}, arg_min(mode, started_utc) AS first_mode FROM history JOIN every_run USING (run)
            WHERE {TIMED} GROUP BY ALL
        ), h AS (
            SELECT {", ".join((*POINT_KEY, "op", "impl", "precision", "dims"))} FROM history JOIN those USING (run) WHERE {TIMED}
        )
        SELECT DISTINCT ON ({", ".join(WAY)}, mode) {", ".join(f"h.{name}" for name in WAY)}, coalesce(h.mode, a.first_mode) AS mode,
               op, impl, precision, dims, coalesce(h.mode, a.first_mode) IS NOT DISTINCT FROM a.first_mode AS oldest
        FROM h JOIN a ON {SAME_WAY}
        """
    ).df()


def modes_before(database: duckdb.DuckDBPyConnection, tonight: Mapping[str, Any]) -> pd.DataFrame:
    """WAY and `mode`: how each point was last timed before tonight's run in its environment, on this GPU if it ran there. Points of which
    no mode was recorded are left out."""
    same = " AND ".join(f"{name} IS NOT DISTINCT FROM ${name}" for name in MACHINE)
    return database.execute(
        f"""
        SELECT {", ".join(WAY)}, coalesce(arg_max(mode, started_utc) FILTER (WHERE {GPU} = $gpu), arg_max(mode, started_utc)) AS mode
        FROM history WHERE {same} AND started_utc < $started AND mode IS NOT NULL AND {TIMED} GROUP BY ALL
        """,
        {name: tonight[name] for name in MACHINE} | {"started": tonight["started_utc"], "gpu": gpu_of(tonight)},
    ).df()


def alike(database: duckdb.DuckDBPyConnection, run: str, calendar: Calendar) -> pd.DataFrame:
    """run and night of the runs of the same sweep on the same kind of device, this one among them."""
    same = " AND ".join(f"h.{name} IS NOT DISTINCT FROM t.{name}" for name in ("sweep", *KEPT))
    return database.execute(
        f"""
        SELECT DISTINCT h.run, {calendar.sql} AS night
        FROM history h, (SELECT {", ".join(("sweep", *KEPT))} FROM history WHERE run = ? LIMIT 1) t WHERE {same}
        """,
        [run],
    ).df()


def comparable_nights(database: duckdb.DuckDBPyConnection, run: str, calendar: Calendar) -> int:
    """Nights of the history with runs of the same sweep on the same kind of device."""
    return int(alike(database, run, calendar)["night"].nunique())


def levels(database: duckdb.DuckDBPyConnection, last: dict[str, Any], calendar: Calendar, count: int = 10) -> pd.DataFrame:
    """POINT_KEY, op, impl, precision and log_s: medians of log time over the last so many nights of a run's environment, it among them."""
    runs = _runs(database, last, calendar)
    placed = runs[runs["night"].isin(sorted(runs["night"].unique())[-count:])]
    series = _series(database, placed["run"].tolist(), placed["run"].tolist())
    database.register("asked", _keys(series))
    database.register("placed", placed)
    found = database.execute(
        f"""
        SELECT a.series, median(ln(median_s)) AS log_s FROM history h JOIN placed USING (run) JOIN asked a ON {SAME_KEY}
        WHERE {TIMED} GROUP BY ALL
        """
    ).df()
    return series[[*POINT_KEY, "op", "impl", "precision"]].join(found.set_index("series"))


def previous_run(database: duckdb.DuckDBPyConnection, tonight: dict[str, Any], names: Sequence[str] = ("sweep", *KEPT)) -> str | None:
    """The last run before tonight's that agrees with it in `names`, on this GPU if it ran there."""
    found = database.execute(
        f"""
        SELECT run FROM history WHERE started_utc < $started
        AND {" AND ".join(f"{name} IS NOT DISTINCT FROM ${name}" for name in names)}
        ORDER BY {GPU} = $gpu DESC, started_utc DESC LIMIT 1
        """,
        {
            **{name: tonight[name] for name in names},
            **{"started": tonight["started_utc"], "gpu": gpu_of(tonight)},
        },
    ).fetchone()
    return str(found[0]) if found else None


def expected_points(database: duckdb.DuckDBPyConnection, tonight: dict[str, Any], calendar: Calendar) -> list[str]:
    """Points, timed or not, that at least half of the last RECENT nights before tonight's had, in the runs that are expected to have the
    same points (SAME_POINTS); empty on a first night."""
    same = " AND ".join(f"{name} IS NOT DISTINCT FROM ${name}" for name in SAME_POINTS)
    found = database.execute(
        f"""
        WITH placed AS (
            SELECT DISTINCT point, {calendar.sql} AS night FROM history WHERE {same} AND started_utc < $started AND status <> '{SENTINEL}'
        ), last AS (
            SELECT DISTINCT night FROM placed WHERE night < (SELECT {calendar.sql} FROM history WHERE run = $run LIMIT 1)
            ORDER BY night DESC LIMIT {RECENT}
        )
        SELECT point FROM placed JOIN last USING (night) GROUP BY point HAVING 2 * count(*) >= (SELECT count(*) FROM last) ORDER BY point
        """,
        {name: tonight[name] for name in SAME_POINTS} | {"started": tonight["started_utc"], "run": tonight["run"]},
    ).fetchall()
    return [str(point) for (point,) in found]


def earlier_statuses(
    database: duckdb.DuckDBPyConnection, tonight: dict[str, Any], points: Sequence[str], calendar: Calendar
) -> pd.DataFrame:
    """point, status and night of every line of these points before tonight's run, on the same kind of device, in time order."""
    if not points:
        return pd.DataFrame(columns=["point", "status", "night"])
    database.register("failing", pd.DataFrame({"point": list(points)}))
    return database.execute(
        f"""
        SELECT point, status, {calendar.sql} AS night FROM history JOIN failing USING (point)
        WHERE started_utc < $started AND {" AND ".join(f"{name} IS NOT DISTINCT FROM ${name}" for name in KEPT)} ORDER BY started_utc
        """,
        {name: tonight[name] for name in KEPT} | {"started": tonight["started_utc"]},
    ).df()


def details(database: duckdb.DuckDBPyConnection, tonight: dict[str, Any], series: pd.DataFrame, calendar: Calendar) -> pd.DataFrame:
    """Every line of the given series (POINT_KEY) up to tonight, in time order, with its night and GPU: what attribution looks at
    (DETAILS). `series` in the result is the index of its line in `series`."""
    database.register("asked", _keys(series))
    same = " AND ".join(f"h.{name} IS NOT DISTINCT FROM ${name}" for name in MACHINE)
    return database.execute(
        f"""
        SELECT a.series, {calendar.sql} AS night, {GPU} AS gpu, {", ".join(DETAILS)} FROM history h JOIN asked a ON {SAME_KEY}
        WHERE {same} AND started_utc <= $started ORDER BY started_utc
        """,
        {name: tonight[name] for name in MACHINE} | {"started": tonight["started_utc"]},
    ).df()


def sentinels(database: duckdb.DuckDBPyConnection, tonight: dict[str, Any], calendar: Calendar) -> pd.DataFrame:
    """Night, GPU, name and median seconds of the sentinels of tonight's kind of device, up to tonight."""
    same = " AND ".join(f"{name} IS NOT DISTINCT FROM ${name}" for name in KEPT)
    return database.execute(
        f"""
        SELECT {calendar.sql} AS night, {GPU} AS gpu, point AS name, median(median_s) AS seconds FROM history
        WHERE status = '{SENTINEL}' AND {same} AND started_utc <= $started GROUP BY ALL ORDER BY ALL
        """,
        {name: tonight[name] for name in KEPT} | {"started": tonight["started_utc"]},
    ).df()


def sentinel_moves(sentinels: pd.DataFrame, night: str) -> dict[str, list[tuple[str, float, float]]]:
    """By GPU: name, seconds tonight, and the ratio to the median of the nights before. `sentinels`: night, gpu, name, seconds."""
    moves: dict[str, list[tuple[str, float, float]]] = {}
    for (gpu, name), group in sentinels.groupby(["gpu", "name"]):
        tonight = group.loc[group["night"] == night, "seconds"]
        before = group.loc[group["night"] < night, "seconds"].median()
        if len(tonight):
            moves.setdefault(str(gpu), []).append((str(name), float(tonight.iloc[0]), float(tonight.iloc[0] / before)))
    return moves
