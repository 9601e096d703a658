"""The directory of a history: files are added whole, read through DuckDB, and set aside where they cannot be read.

Every file is written beside its place and renamed into it, so that a reader sees all of it or nothing, and two machines may add at a
time. A file's name is its run's id: adding a run again replaces its file, so that it counts once.
"""

from __future__ import annotations

import glob
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from benches.run.journal import NEWER
from kernels.writing import write_file
from reports.history.record import UnusableRun, run_table
from reports.history.schema import ADDED, MARK, SCHEMA, VERSION

SET_ASIDE = "set-aside"
FOREIGN = "not written by this suite"
PATTERN = "*.parquet"
SETTINGS = ("TimeZone = 'UTC'", "enable_progress_bar = false", "parquet_metadata_cache = true")
ROW_GROUP = 2048  # lines, in the order of points: a query of one point reads one group of each file


@dataclass(frozen=True)
class Opened:
    """A history ready to be queried: the view `history` holds every line. `notes` say what was set aside, and why."""

    database: duckdb.DuckDBPyConnection
    runs: int
    notes: tuple[str, ...]


def add_run(history: Path, run_dir: Path) -> str:
    """Adds a run and returns its id. Raises UnusableRun, OSError."""
    return add_table(history, run_table(run_dir))


def add_table(history: Path, table: pa.Table) -> str:
    """Adds one run's lines and returns its id. Raises UnusableRun where the directory is somebody else's."""
    history.mkdir(parents=True, exist_ok=True)
    present = list(history.glob(PATTERN))
    if present and all(_foreign(path) for path in present):
        raise UnusableRun(f"{history}: its Parquet files do not belong to a history: name another --history, or they would be set aside")
    run = str(table["run"][0])
    ordered = table.sort_by("point")
    write_file(history / f"{run}.parquet", lambda path: pq.write_table(ordered, path, compression="zstd", row_group_size=ROW_GROUP))
    return run


def _foreign(path: Path) -> bool:
    try:
        return damage(path) == Problem(FOREIGN)
    except FileNotFoundError:
        return False


def first_of_nights(history: Path, run: str, nights: int) -> str:
    """Where the last so many nights up to a run begin, for `open_history`: a name, as names begin with the time. A day more than that,
    since a night may begin at any hour."""
    days = sorted({path.name[:8] for path in history.glob(PATTERN) if path.stem <= run})
    return days[-nights - 1] if len(days) > nights else ""


def open_history(history: Path, first: str = "") -> Opened:
    """Opens the files of a history: all, or those whose names are `first` or later, which is ten times as fast for the last nights. Files
    that are damaged or not of a history are set aside. Raises OSError where the directory cannot be read."""
    notes = []
    good = []
    for path in sorted(path for path in history.glob(PATTERN) if path.name >= first):
        try:
            problem = damage(path)
        except FileNotFoundError:
            continue  # pruned, or set aside, by another process a moment ago
        if problem is None:
            good.append(glob.escape(str(path)))  # DuckDB reads a name as a pattern
        elif problem.newer:
            notes.append(f"{path.name} was left out: {NEWER}: {problem.why}")  # and stays where that version looks for it
        else:
            notes.append(f"{path.name} was set aside, into {SET_ASIDE}/: {problem.why}")
            set_aside(path)
    database = duckdb.connect()
    for setting in SETTINGS:
        database.execute(f"SET {setting}")
    if good:
        found = database.from_parquet(good, union_by_name=True)
        # Only the columns that this version knows: those that a newer one adds may have any type.
        known = [f'"{name}"' if name in found.columns else f"NULL::{ADDED[name]} AS {name}" for name in SCHEMA.names]
        found.project(", ".join(known)).create_view("history")
    else:
        database.register("history", SCHEMA.empty_table())
    return Opened(database, len(good), tuple(notes))


@dataclass(frozen=True)
class Problem:
    """Why a file cannot be read as one of a history. `newer`: a newer version wrote it, and can read it."""

    why: str
    newer: bool = False


def damage(path: Path) -> Problem | None:
    """Returns why a file is not a history file, by its footer alone, or None where it is one. Raises FileNotFoundError."""
    try:
        schema = pq.read_schema(path)
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        return Problem(f"damaged ({str(error).splitlines()[0][:120]})")
    mark = (schema.metadata or {}).get(MARK)
    if mark is None:
        return Problem(FOREIGN)
    if schema.equals(SCHEMA):  # as nearly all are, and comparing them by name takes ten times as long
        return None
    newer = mark.isdigit() and int(mark) > int(VERSION)
    lacking = [name for name in SCHEMA.names if name not in schema.names and name not in ADDED]
    if lacking:
        return Problem(f"lacks {', '.join(lacking)}", newer)
    other = [name for name in SCHEMA.names if name in schema.names and schema.field(name).type != SCHEMA.field(name).type]
    return Problem(f"holds another type of {', '.join(other)}", newer=True) if newer and other else None


def set_aside(path: Path) -> None:
    """Moves a file out of the way, without losing one of the same name that was set aside before. Another process may have done so."""
    folder = path.parent / SET_ASIDE
    folder.mkdir(exist_ok=True)
    target, count = folder / path.name, 1
    while target.exists():
        target, count = folder / f"{path.stem}.{count}{path.suffix}", count + 1
    with suppress(FileNotFoundError):
        path.replace(target)


def set_unreadable_aside(history: Path) -> list[str]:
    """Reads every file whole, as a query may and a footer does not show, and sets aside those that cannot be read; a note each."""
    notes = []
    for path in sorted(history.glob(PATTERN)):
        try:
            pq.read_table(path)
        except FileNotFoundError:
            continue
        except (OSError, pa.ArrowException) as error:
            notes.append(f"{path.name} was set aside, into {SET_ASIDE}/: damaged ({str(error).splitlines()[0][:120]})")
            set_aside(path)
    return notes


def prune(history: Path, days: float, now: datetime | None = None) -> list[str]:
    """Deletes the runs that began more than so many days ago; their names. The time is in a file's name."""
    limit = (now or datetime.now(UTC)) - timedelta(days=days)
    gone = []
    for path in sorted(history.glob(PATTERN)):
        try:
            started = datetime.strptime(path.name.split("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            continue  # not a history file's name: `open_history` sets it aside
        if started < limit:
            path.unlink(missing_ok=True)
            gone.append(path.stem)
    return gone
