"""A run directory as lines of the history."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from benches.row import Conditions, Row
from benches.run.journal import NAME, read_journal
from benches.run.sentinels import read_sentinels
from benches.run.variables import changing_times
from reports.environment import NAME as ENVIRONMENT
from reports.environment import load_environment
from reports.history.schema import SCHEMA, SENTINEL

IDENTITY = ("started_utc", "host", "device_kind", "device_name", "device_uuid", "commit", "seed", "sweeps")  # of a run: none says so alone


class UnusableRun(ValueError):
    """A directory that cannot be added to a history; the message is one line and says why."""


def run_table(run_dir: Path) -> pa.Table:
    """The lines of a run, whole or interrupted. Raises UnusableRun as `read_run` does."""
    return read_run(run_dir)[0]


def read_run(run_dir: Path) -> tuple[pa.Table, list[str]]:
    """The lines of a run, whole or interrupted, and notes on damage in its journal and on what a newer version wrote. Raises UnusableRun
    where there are no rows, no environment or no time of start."""
    try:
        contents = read_journal(run_dir)
    except OSError as error:
        raise UnusableRun(f"{run_dir}: no readable {NAME}: {error.strerror}") from error
    notes = contents.notes()
    if not contents.rows:
        raise UnusableRun(f"{run_dir / NAME}: no rows: {'; '.join(notes) or 'nothing was measured'}")
    environment = load_environment(run_dir).fields
    if not environment:
        raise UnusableRun(f"{run_dir / ENVIRONMENT}: missing or unreadable: which machine and versions were measured is not known")
    of_run = run_fields(environment, run_dir)
    lines = [of_run | line for line in (*map(_point, contents.rows), *_sentinels(run_dir))]
    return pa.Table.from_pylist(lines, schema=SCHEMA), notes


def run_fields(environment: dict[str, Any], run_dir: Path) -> dict[str, Any]:
    """What every line of a run says. Raises UnusableRun without a time of start."""
    started = started_utc(environment.get("started_utc"))
    if started is None:
        raise UnusableRun(f"{run_dir / ENVIRONMENT}: started_utc is not an ISO 8601 time: {str(environment.get('started_utc'))[:60]!r}")
    versions = environment.get("versions")
    versions = versions if isinstance(versions, dict) else {}
    sweeps = environment.get("sweeps")
    return {
        "run": run_id(environment, started),
        "run_dir": str(run_dir.resolve()),
        "started_utc": started,
        **{name: _text(environment.get(name)) for name in ("host", "device_kind", "device_name", "device_uuid", "driver")},
        "clock_policy": _text(environment.get("clock_policy")) or _threads(environment.get("cpu")),
        **{name: _text(versions.get(name)) for name in ("torch", "triton")},
        "cublas": _text(versions.get("nvidia-cublas") or versions.get("nvidia-cublas-cu12")),
        **{name: _text(environment.get(name)) for name in ("cuda_runtime", "cudnn", "vbios", "tuned")},
        "variables": _variables(environment.get("variables")),
        "commit": _text(environment.get("commit")),
        "dirty": environment["dirty"] if isinstance(environment.get("dirty"), bool) else None,
        "sweep": ", ".join(map(str, sweeps)) if isinstance(sweeps, list) else _text(sweeps),
        "narrowed_by": _text(environment.get("narrowed_by")),
    }


def _variables(recorded: object) -> str | None:
    """Those that can change a time, as JSON; None where the run did not record any, which is not the same as none that is set."""
    if not isinstance(recorded, dict):
        return None
    return json.dumps(changing_times({str(name): str(value) for name, value in recorded.items()}), sort_keys=True)


def _threads(cpu: object) -> str | None:
    """Of a CPU, what a clock policy is of a GPU: times with other threads are another series."""
    return f"{cpu['threads']} threads" if isinstance(cpu, dict) and isinstance(cpu.get("threads"), int) else None


def run_id(environment: dict[str, Any], started: datetime) -> str:
    """The time and the host, for a reader, and a hash of what makes a run itself: the same however often and from where it is added."""
    host = re.sub(r"[^A-Za-z0-9.]+", "_", str(environment.get("host") or "unknown"))[:40]
    identity = json.dumps([environment.get(name) for name in IDENTITY], sort_keys=True, default=str)
    return f"{started:%Y%m%dT%H%M%SZ}-{host}-{hashlib.sha256(identity.encode()).hexdigest()[:10]}"


def started_utc(value: object) -> datetime | None:
    """An ISO 8601 time in UTC, where it says no zone too; None for what is none."""
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _point(row: Row) -> dict[str, Any]:
    conditions = row.conditions.model_dump(include=set(Conditions.model_fields))
    reasons = conditions.pop("throttle_reasons")
    conditions.pop("energy_j")
    names = ("point", "op", "impl", "precision", "regime", "cache", "mode", "status", "reason", "median_s", "ci_low_s", "ci_high_s")
    return {
        **{name: getattr(row, name) for name in (*names, "duty", "config", "source_hash", "machine_code_hash", "cost_source", "tolerance")},
        "dims": json.dumps(row.dims, separators=(",", ":")),
        "flops": float(row.flops),
        "bytes": float(row.bytes_read + row.bytes_written),
        **conditions,
        "throttle_reasons": ", ".join(reasons) if reasons else None,
    }


def _sentinels(run_dir: Path) -> Iterator[dict[str, Any]]:
    for reading in read_sentinels(run_dir):
        told = {"sm_clock_hz": reading.sm_clock_hz, "temperature_c": reading.temperature_c, "median_s": reading.median_s}
        yield {"point": reading.name, "op": SENTINEL, "status": SENTINEL, **told}
