"""Runs of the same points, quiet and disturbed, and which of their rows are off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benches.row import DISTURBED, Row
from benches.run.isolation import Isolated
from benches.sweep.load import load_sweeps
from kernels.op import Point
from kernels.registry import baseline_of
from studies.disturbances.work import Work, beside

Run = Mapping[str, Row]  # by point
FAR = 1.10  # times beyond the quiet runs' longest and shortest median, from which a median is off
LEAST = 3  # quiet runs in which a point must have ended ok, to be judged by them
POINT_LIMIT_S = 120.0


def points(sweep: str) -> list[Point]:
    """Every second one of PyTorch's fp32 points of a sweep: few enough, and fast enough on a CPU, for many runs."""
    return [point for point in load_sweeps([sweep]).points if point.impl == baseline_of(point.op) and point.precision == "fp32"][::2]


def run_points(asked: Sequence[Point], folder: Path, work: Work | None, described: dict[str, Any] | None, cores: int) -> Run:
    """Every point in a fresh worker, with other work beside it. described: an earlier worker's `describe`."""
    opening = {"kind": "cpu", "run_dir": folder, "seed": 1, "asked": {}, "described": described}
    measurer = Isolated(opening, folder / "worker.log", POINT_LIMIT_S)
    try:
        measurer.describe()
        with beside(work, cores):
            return {point.id: measurer.row_of(point, timing=True) for point in asked}
    finally:
        measurer.close()


def describe(folder: Path) -> dict[str, Any]:
    """A worker's description of the device, with its measured ceilings."""
    measurer = Isolated({"kind": "cpu", "run_dir": folder, "seed": 1, "asked": {}}, folder / "worker.log", POINT_LIMIT_S)
    try:
        return measurer.describe()
    finally:
        measurer.close()


def ok_s(run: Run, point: str) -> float | None:
    """A point's median in a run, if it ended ok."""
    row = run.get(point)
    return row.median_s if row is not None and row.status == "ok" else None


def reference(quiet: Sequence[Run]) -> dict[str, tuple[float, float]]:
    """By point, the shortest and longest median of quiet runs, for points that ended ok in at least LEAST of them."""
    medians = {point: [s for run in quiet if (s := ok_s(run, point)) is not None] for point in sorted({p for run in quiet for p in run})}
    return {point: (min(found), max(found)) for point, found in medians.items() if len(found) >= LEAST}


def factor(seconds: float, low: float, high: float) -> float:
    """`seconds` over `high` where it is longer, over `low` where it is shorter than that; 1 between them."""
    return seconds / high if seconds > high else min(1.0, seconds / low)


@dataclass(frozen=True)
class Found:
    """What was found in the rows taken beside one kind of work."""

    name: str
    rows: int  # of points with a reference
    ok: int
    disturbed: int  # noisy, since other work was seen
    noisy: int  # for another reason
    off: tuple[tuple[str, float], ...]  # ok although their time is off: point, and `factor`

    @property
    def share(self) -> float:
        """The fraction of the ok rows that is off."""
        return len(self.off) / self.ok if self.ok else 0.0


def judge(name: str, runs: Sequence[Run], right: Mapping[str, tuple[float, float]]) -> Found:
    """All rows of some runs against the quiet medians."""
    rows = [row for run in runs for row in run.values() if row.point in right]
    ok = [(row.point, factor(row.median_s, *right[row.point])) for row in rows if row.status == "ok" and row.median_s is not None]
    disturbed = sum(row.cause == DISTURBED for row in rows)
    off = tuple((point, far) for point, far in ok if far > FAR or far < 1 / FAR)
    return Found(name, len(rows), len(ok), disturbed, len(rows) - len(ok) - disturbed, off)


def judge_quiet(quiet: Sequence[Run]) -> Found:
    """Each quiet run against the others: what is off although nothing was beside it."""
    each = [judge("", [run], reference([other for other in quiet if other is not run])) for run in quiet]
    total = {name: sum(getattr(found, name) for found in each) for name in ("rows", "ok", "disturbed", "noisy")}
    return Found("nothing: each run against the others", **total, off=tuple(one for found in each for one in found.off))


def spread(right: Mapping[str, tuple[float, float]]) -> tuple[float, float, float]:
    """Longest over shortest median of quiet runs: the median point's, that of the 95th percentile, the largest. NaN without points."""
    ratios = [high / low for low, high in right.values()] or [float("nan")]
    return median(ratios), float(np.percentile(ratios, 95)), max(ratios)
