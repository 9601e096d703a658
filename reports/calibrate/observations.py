"""Rows of runs as what the fits need: sizes of the parts, whether the cache was hot, seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benches.row import TIMED, Row, Status
from benches.run.journal import NAME, read_journal
from kernels.gpus import Ceilings
from kernels.op import Cost, Point
from kernels.parts import Contraction, Part, Stream
from kernels.registry import OPS, point_of
from reports.environment import MAX_NAME, Environment, load_environment


class CalibrationError(Exception):
    """Runs that nothing can be fitted to; the message is one line."""


@dataclass(frozen=True)
class Observation:
    """One timed row."""

    point: Point
    parts: tuple[Part, ...]
    hot: bool
    seconds: float

    @property
    def single(self) -> Part | None:
        """Its one kernel; None where there are several, whose times cannot be told apart, or none."""
        return self.parts[0] if len(self.parts) == 1 and self.parts[0].times == 1 else None


@dataclass(frozen=True)
class Runs:
    """Runs on one device, and their rows that count."""

    paths: tuple[Path, ...]
    environment: Environment  # of the last one
    observations: tuple[Observation, ...]
    left_out: tuple[str, ...]  # a line for each reason why timed rows do not count

    @property
    def ceilings(self) -> Ceilings:
        if self.environment.ceilings is None:
            raise CalibrationError(f"{self.paths[-1]}: {self.environment.ceilings_from}")
        return self.environment.ceilings

    @property
    def source(self) -> str:
        """Where the rows come from, for the provenance."""
        names = ", ".join(one_line(path.resolve().name) for path in self.paths)
        return f"{names}, on {_device(self.environment)}, {one_line(self.environment.text('started_utc')[:10])}"


def load_runs(paths: Sequence[Path], impl: str, statuses: Sequence[Status]) -> Runs:
    """Rows of an implementation with one of the statuses. Raises CalibrationError where a run cannot be read or runs differ in device."""
    environments, observations, reasons = [], [], Counter[str]()
    for path in paths:
        try:
            if not path.is_dir():  # which raises where this user may not look
                raise CalibrationError(f"{path}: no such run directory")
            rows = read_journal(path).rows
        except OSError as error:
            raise CalibrationError(f"{path}: no readable {NAME}: {error.strerror}") from error
        environments.append(load_environment(path))
        found, why = _observations([row for row in rows if row.status in TIMED and row.median_s], impl, statuses)
        observations += found
        reasons.update(why)
    devices = {_device(environment) for environment in environments}
    if len(devices) > 1:
        raise CalibrationError(f"runs on different devices: {', '.join(sorted(devices))}")
    left_out = tuple(f"{count} timed rows left out: {why}" for why, count in reasons.most_common())
    runs = Runs(tuple(paths), environments[-1], tuple(observations), left_out)
    if not observations:
        raise CalibrationError(f"{', '.join(map(str, paths))}: no rows to fit" + (f" ({'; '.join(left_out)})" if left_out else ""))
    return runs


def _device(environment: Environment) -> str:
    return one_line(environment.text("device_name")[:MAX_NAME])


def one_line(text: str) -> str:
    """A file's own words without what would break a line, or end a YAML comment."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _observations(rows: Iterable[Row], impl: str, statuses: Sequence[Status]) -> tuple[list[Observation], Counter[str]]:
    found, reasons = [], Counter[str]()
    for row in rows:
        if row.impl != impl:
            reasons[f"implementation {row.impl} (--impl)"] += 1
        elif row.status not in statuses:
            reasons[f"{row.status}" + (" (--noisy)" if row.status == "noisy" else "")] += 1
        elif row.mode == "host":
            reasons["timed at the host's pace (mode host)"] += 1
        elif row.op not in OPS:
            reasons[f"op {row.op} is unknown to this version"] += 1
        elif (point := point_of(row)) is None:
            reasons["dims or options unknown to this version"] += 1
        else:
            cost = Cost(row.flops, row.bytes_read, row.bytes_written, row.memory_bytes)
            found.append(Observation(point, tuple(OPS[row.op].parts(point, cost)), row.cache == "hot", float(row.median_s or 0)))
    return found, reasons


def seconds_of(observations: Sequence[Observation]) -> np.ndarray:
    """(N,)"""
    return np.array([o.seconds for o in observations], float)


def groups_of(observations: Sequence[Observation]) -> np.ndarray:
    """A number for each observation, the same for those that differ only in their m (a contraction's rows): they are held out together."""
    keys = [_key(o) for o in observations]
    numbers = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], np.intp)


def _key(observation: Observation) -> tuple[object, ...]:
    part = observation.single
    if isinstance(part, Contraction):
        return (part.batch, part.n, part.k)
    if isinstance(part, Stream):
        return (part.bytes,)
    return (observation.point.id,)


def rows_of(observation: Observation) -> float:
    """m of the result, by which regimes are told apart: of the largest contraction, else 0."""
    return max((float(part.m) for part in observation.parts if isinstance(part, Contraction)), default=0.0)
