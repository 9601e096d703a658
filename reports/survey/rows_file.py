"""RUN/survey.parquet: the rows of every GPU of a survey in one file, so that 1,024 journals are parsed once.

The journals stay the source of truth. The rows of a journal that has changed since the file was written are read again.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
import pyarrow.parquet as pq

from benches.row import Row
from benches.run.journal import NAME as JOURNAL
from benches.run.journal import NAMED, NoRow, lines, parse_row
from benches.run.plausible import LONGEST_S, MOST, SHORTEST_S, SIGNED
from kernels.listed import first_of
from kernels.writing import write_file

NAME = "survey.parquet"
VERSION = "1"  # another one: the file is written anew
MARK, ABOUT = b"microbench_survey", b"about"
WORDS = ("point", "op", "impl", "precision", "status", "cause", "regime", "cache", "mode")
TEXTS = ("reason",)  # which differ from row to row
TIMES = ("median_s", "ci_low_s", "ci_high_s")
NUMBERS = (*TIMES, "duty", "flops", "bytes_read", "bytes_written", "memory_bytes")
OBJECTS = ("dims", "options")  # the same in every row of a point
CONDITIONS = ("sm_clock_hz", "memory_clock_hz", "power_w", "temperature_c")
REASONS = "throttle_reasons"

Objects = Mapping[str, Sequence[dict[str, Any]]]  # by point

DICTIONARY = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [("directory", DICTIONARY)]
    + [(name, DICTIONARY) for name in (*WORDS, REASONS)]
    + [(name, pa.string()) for name in TEXTS]
    + [(name, pa.float64()) for name in (*NUMBERS, *CONDITIONS)]
)
JOURNALLED = pa.schema(
    [(name, pa.string()) for name in (*WORDS, *TEXTS)]
    + [(name, pa.float64()) for name in NUMBERS]
    + [("conditions", pa.struct([*((name, pa.float64()) for name in CONDITIONS), (REASONS, pa.list_(pa.string()))]))]
)
NEEDED = ("point", "op", "impl", "precision", "status", "flops", "bytes_read", "bytes_written", "memory_bytes")
AT_ONCE = 2  # journals that are parsed side by side: beyond, the disk and Python are what takes the time
LARGEST_BLOCK = 2**30  # bytes of a journal that Arrow parses at once


@dataclass(frozen=True)
class Rows:
    """`table` has SCHEMA's columns, one line a row; `objects` has OBJECTS of each point. `problems` names damaged lines, and a file that
    could not be written."""

    table: pa.Table
    objects: Objects
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Journalled:
    """The rows of one journal, and a line on what is damaged in it."""

    table: pa.Table
    problems: list[str]


def survey_rows(run_dir: Path, directories: Sequence[str]) -> Rows:
    """Returns the rows of those run directories, and keeps them in RUN/survey.parquet. A directory without a journal has none."""
    stamps = {name: stamp for name in directories if (stamp := _stamp(run_dir / name / JOURNAL)) is not None}
    kept, about = _read(run_dir / NAME)
    same = {name for name, stamp in stamps.items() if about["stamps"].get(name) == stamp}
    problems = {name: found for name, found in about["problems"].items() if name in same}
    objects: dict[str, Sequence[dict[str, Any]]] = dict(about["objects"])
    if same == stamps.keys() == about["stamps"].keys():
        return Rows(kept, objects, _flat(problems))
    tables = [kept.filter(pc.is_in(kept["directory"].cast(pa.string()), pa.array(sorted(same), pa.string())))]
    with ThreadPoolExecutor(AT_ONCE) as executor:
        changed = [name for name in stamps if name not in same]
        for name, found in zip(changed, executor.map(lambda one: _journal(run_dir, one), changed), strict=True):
            tables.append(found.table)
            problems[name] = found.problems
            unknown = [point for point in found.table["point"].to_pylist() if point not in objects]
            objects |= _objects(run_dir / name / JOURNAL, unknown)
    whole = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    told = {"stamps": stamps, "problems": {name: found for name, found in problems.items() if found}, "objects": objects}
    unwritten = _write(run_dir / NAME, whole.replace_schema_metadata({MARK: VERSION, ABOUT: json.dumps(told)}))
    return Rows(whole, objects, (*_flat(problems), *unwritten))


def _flat(problems: dict[str, list[str]]) -> tuple[str, ...]:
    return tuple(line for name in sorted(problems) for line in problems[name])


def _stamp(journal: Path) -> list[int] | None:
    """Returns size and time of the last change; None where there is no journal."""
    try:
        found = journal.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _read(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """Returns the table of an earlier call and what it was made from: nothing where there is none of this version that can be read."""
    try:
        table = pq.read_table(path)
        metadata = table.schema.metadata or {}
        if metadata.get(MARK) == VERSION.encode() and table.schema.equals(SCHEMA):
            about = json.loads(metadata[ABOUT])
            if all(isinstance(about[name], dict) for name in ("stamps", "problems", "objects")):
                return table, about
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
        pass  # not there yet, damaged, or another program's: nothing is lost, since all of it is made again from the journals
    return SCHEMA.empty_table(), {"stamps": {}, "problems": {}, "objects": {}}


def _write(path: Path, table: pa.Table) -> tuple[str, ...]:
    """Writes the file; returns a line where it cannot be written, as in a folder that is read-only: the rows are then parsed each time."""
    try:
        write_file(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))
    except OSError as error:
        return (f"{path} was not written ({error.strerror}): the journals will be parsed again next time",)
    return ()


def _journal(run_dir: Path, directory: str) -> Journalled:
    """Returns the rows of a journal, a point that was run again by its last row."""
    path = run_dir / directory / JOURNAL
    try:
        data = path.read_bytes()
    except OSError as error:
        return Journalled(SCHEMA.empty_table(), [f"{path}: cannot be read ({error.strerror})"])
    table = _whole(data)
    damaged: list[str] = []
    if table is None:
        table, damaged = _by_line(data)
    names = table["point"].to_pylist()
    last = {name: i for i, name in enumerate(names)}
    table = table.take(pa.array(sorted(last.values()), pa.int64()))
    plausible = _plausible(table)
    damaged += [f"{names[i]}: holds a number that no measurement gives" for i in np.flatnonzero(~plausible)]
    table = table.filter(pa.array(plausible))
    text = f"{len(damaged)} damaged line{'' if len(damaged) == 1 else 's'} in {directory}/{JOURNAL} left out"
    problems = [f"{text}: {first_of(damaged, NAMED, '; ')}"] if damaged else []
    return Journalled(_finished(table, directory), problems)


def _whole(data: bytes) -> pa.Table | None:
    """Returns the rows of a journal that Arrow parses in one go; None where a line is damaged or otherwise not as expected."""
    options = pj.ParseOptions(explicit_schema=JOURNALLED, unexpected_field_behavior="ignore")
    block = pj.ReadOptions(use_threads=False, block_size=min(len(data) + 1, LARGEST_BLOCK))
    try:
        table = pj.read_json(io.BytesIO(data), block, options) if data and not data.isspace() else JOURNALLED.empty_table()
    except pa.ArrowException:
        return None
    return table.combine_chunks() if all(table[name].null_count == 0 for name in NEEDED) else None


def _by_line(data: bytes) -> tuple[pa.Table, list[str]]:
    """Returns the rows of the lines that hold one, and what is wrong with the others."""
    rows: list[dict[str, Any]] = []
    damaged = []
    for number, line in enumerate(lines(io.BytesIO(data)), 1):
        if not line.strip():
            continue
        row = parse_row(line)
        if isinstance(row, NoRow):
            damaged.append(f"{JOURNAL}:{number}: {row.why}")
            continue
        rows.append({name: getattr(row, name) for name in (*WORDS, *TEXTS, *NUMBERS)} | {"conditions": row.conditions.model_dump()})
    return pa.Table.from_pylist(rows, JOURNALLED), damaged


def _finished(table: pa.Table, directory: str) -> pa.Table:
    """From JOURNALLED to SCHEMA."""
    conditions = table["conditions"].combine_chunks()
    reasons = pc.binary_join(conditions.field(REASONS), ", ")
    columns = {name: table[name] for name in (*WORDS, *TEXTS, *NUMBERS)} | {name: conditions.field(name) for name in CONDITIONS}
    columns |= {"directory": pa.repeat(directory, len(table)), REASONS: pc.if_else(pc.equal(reasons, ""), None, reasons)}
    return pa.Table.from_arrays([columns[name].cast(SCHEMA.field(name).type) for name in SCHEMA.names], schema=SCHEMA)


def _objects(journal: Path, points: Sequence[str]) -> dict[str, Sequence[dict[str, Any]]]:
    """Returns OBJECTS of these points, from their lines. Raises OSError."""
    asked = set(points)
    if not asked:
        return {}
    found: dict[str, Sequence[dict[str, Any]]] = {}
    with journal.open("rb") as file:
        for line in lines(file):
            row = parse_row(line) if line.strip() else None
            if isinstance(row, Row) and row.point in asked:
                found[row.point] = [row.dims, row.options]
    return found


def _plausible(table: pa.Table) -> np.ndarray:
    """Whether all numbers of a row can be a measurement's, as benches.run.plausible has it."""
    good = np.ones(len(table), bool)
    conditions = table["conditions"].combine_chunks()
    for name in (*NUMBERS, *CONDITIONS):
        values = (table[name] if name in NUMBERS else conditions.field(name)).to_numpy(zero_copy_only=False)
        low, high = (SHORTEST_S, LONGEST_S) if name in TIMES else (-MOST if name in SIGNED else 0.0, MOST)
        good &= np.isnan(values) | ((values >= low) & (values <= high))
    return good
