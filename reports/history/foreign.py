"""Runs of other suites: the JSON that pytest-benchmark writes (`--benchmark-json`, `--benchmark-autosave`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count as count_from
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, PositiveFloat, ValidationError

from benches.pytest_plugin.former_files import point_of
from benches.run.json_file import read_json
from reports.history.record import UnusableRun, run_id, started_utc
from reports.history.schema import SCHEMA

KIND = "imported"


class Stats(BaseModel):
    """Seconds."""

    model_config = ConfigDict(extra="ignore")

    median: PositiveFloat
    q1: PositiveFloat | None = None
    q3: PositiveFloat | None = None


class Benchmark(BaseModel):
    """One test of the file; `extra_info` holds the point where this suite wrote the file, and so do the names of its older tests."""

    model_config = ConfigDict(extra="ignore")

    name: str
    fullname: str | None = None  # with the file that holds the test
    group: str | None = None
    stats: Stats
    extra_info: dict[str, Any] = {}


class Document(BaseModel):
    """The parts of pytest-benchmark's JSON that say what was measured, when, and on what."""

    model_config = ConfigDict(extra="ignore")

    datetime: str
    machine_info: dict[str, Any] = {}
    commit_info: dict[str, Any] = {}
    benchmarks: list[Benchmark]


def benchmark_table(path: Path) -> pa.Table:
    """The lines of one file. Raises UnusableRun.

    The file gives no interval of the median: the quartiles stand in neither of its ends' places, which stay empty.
    """
    try:
        document = Document.model_validate(read_json(path))
    except (OSError, ValueError) as error:
        problem = error.errors()[0] if isinstance(error, ValidationError) else None
        words = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" if problem else str(error).splitlines()[0]
        raise UnusableRun(f"{path}: not a pytest-benchmark JSON: {words}") from error
    if not document.benchmarks:
        raise UnusableRun(f"{path}: it holds no benchmarks")
    started = started_utc(document.datetime)
    if started is None:
        raise UnusableRun(f"{path}: datetime is not an ISO 8601 time: {document.datetime[:60]!r}")
    machine, commit = document.machine_info, document.commit_info
    cpu = machine.get("cpu")
    device = str(cpu.get("brand_raw") or machine.get("machine")) if isinstance(cpu, dict) else str(machine.get("machine"))
    points = distinct(document.benchmarks)
    environment = {
        **{"started_utc": document.datetime, "host": machine.get("node"), "commit": commit.get("id"), "device_name": device},
        # Runs that began at the same time are distinguished by what they measured.
        "sweeps": [[point, one.stats.median] for point, one in zip(points, document.benchmarks, strict=True)],
    }
    of_run = {
        **{"run": run_id(environment, started), "run_dir": str(path.resolve()), "started_utc": started, "device_kind": KIND},
        **{"host": str(machine.get("node") or "unknown"), "device_name": device, "sweep": path.stem},
        **{"commit": commit.get("id"), "dirty": commit.get("dirty")},
    }
    lines = [of_run | _line(point, one) for point, one in zip(points, document.benchmarks, strict=True)]
    return pa.Table.from_pylist(lines, schema=SCHEMA)


def distinct(benchmarks: Sequence[Benchmark]) -> list[str]:
    """Returns a different name for each: this suite's point, or the test's name. Where several share it, the full name, which includes the
    file; where they share that too, a number is appended."""
    names = [str(one.extra_info.get("point") or point_of(one.name) or one.name) for one in benchmarks]
    several = {name for name, count in Counter(names).items() if count > 1}
    full = [one.fullname or name if name in several else name for name, one in zip(names, benchmarks, strict=True)]
    taken, found = set(full), dict[str, None]()
    for name in full:
        numbered = (f"{name} ({number})" for number in count_from(2))
        found[name if name not in found else next(one for one in numbered if one not in taken and one not in found)] = None
    return list(found)


def _line(point: str, one: Benchmark) -> dict[str, Any]:
    return {
        "point": point,
        "op": one.group or one.name.split("[")[0],
        "impl": "",
        "precision": "",
        "status": "ok",
        "median_s": one.stats.median,
    }
