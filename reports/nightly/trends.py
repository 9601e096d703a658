"""Every series' nights, packed for the page, which draws from them on demand: float32 arrays, and the levels between changes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from reports.nightly.model import Verdict
from reports.nightly.night_verdict import Z95, Judged
from reports.palette import GUIDE, VERDICT_COLOURS
from reports.payload import pack
from reports.units import show
from reports.verdict.robust import medians

BY_GPU = 750_000  # times of single GPUs that a page holds at most; about 3 MB


@dataclass(frozen=True)
class Level:
    """From night `first` to night `last`, by index, the series took `log_s`, give or take `half`: a 95% interval, NaN where not known."""

    first: int
    last: int
    log_s: float
    half: float


def levels(judged: Judged) -> list[list[Level]]:
    """Of each series, one level before, between and after its confirmed changes: medians of the nights, node shifts taken out."""
    values, sigma = judged.shifted.values, judged.scan.tonight.sigma
    nights = values.shape[1]
    count = np.count_nonzero(~np.isnan(values), axis=1)
    whole = medians(values) if nights else np.full(len(values), np.nan)
    half = Z95 * sigma / np.sqrt(np.maximum(count, 1))
    found = [[Level(0, nights - 1, *told)] for told in zip(whole.tolist(), half.tolist(), strict=True)]
    steps: dict[int, dict[int, float]] = {}
    for one in judged.scan.confirmed:
        steps.setdefault(one.series, {})[one.first] = one.sigma
    for row, firsts in steps.items():
        bounds, noise = [0, *sorted(firsts), nights], firsts[max(firsts)]
        found[row] = [_level(values[row], first, end, noise) for first, end in pairwise(bounds) if end > first]
    return found


def _level(nights: np.ndarray, first: int, end: int, sigma: float) -> Level:
    seen = nights[first:end][~np.isnan(nights[first:end])]
    middle = float(np.median(seen)) if len(seen) else np.nan
    return Level(first, end - 1, middle, Z95 * sigma / np.sqrt(len(seen)) if len(seen) else np.nan)


def bundles(judged: Judged) -> list[tuple[str, str]]:
    """What scripts/trend.js unpacks: `trends` (JSON), `values` (float32 log seconds [series, nights]) and `by-gpu` ([rows, nights, GPUs],
    as measured, of the series that `trends` names)."""
    rows = by_gpu_rows(judged)
    return [
        ("trends", pack(_described(judged, rows))),
        ("values", pack(_floats(judged.shifted.values))),
        ("by-gpu", pack(_floats(judged.nights.times[rows]))),
    ]


def by_gpu_rows(judged: Judged) -> list[int]:
    """The series whose times on each GPU the page holds: none where there is one GPU, whose times follow from its shift; else as many as
    fit, those that changed or are unusual first."""
    series, nights, gpus = judged.nights.times.shape
    if gpus < 2:
        return []
    verdict = judged.verdict
    first = [*(change.series for change in verdict.changes), *(warned.series for warned in verdict.warnings)]
    return list(dict.fromkeys([*first, *range(series)]))[: BY_GPU // max(1, nights * gpus)]


def _described(judged: Judged, rows: list[int]) -> str:
    verdict, found = judged.verdict, judged.nights
    described = {
        "nights": found.nights,
        "gpus": found.gpus,
        "shift": [[_number(value) for value in night] for night in judged.shifted.shift.tolist()],
        "levels": [[[one.first, one.last, _number(one.log_s), _number(one.half)] for one in each] for each in levels(judged)],
        "changes": _marks(verdict),
        "byGpu": rows,
        "colours": {**{name: VERDICT_COLOURS[name] for name in ("slower", "faster")}, "level": VERDICT_COLOURS["same"], "guide": GUIDE},
    }
    return json.dumps(described, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _marks(verdict: Verdict) -> dict[int, list[dict[str, object]]]:
    """By series, where its changes stand in the chart and what is written there."""
    index = {night: i for i, night in enumerate(verdict.nights)}
    marks: dict[int, list[dict[str, object]]] = {}
    for change in verdict.changes:
        mark: dict[str, object] = {"first": index[change.first_night], "direction": change.direction, "text": show(change.ratio, "change")}
        marks.setdefault(change.series, []).append(mark)
    return marks


def _number(value: float) -> float | None:
    """Seven digits, as many as float32 has."""
    return float(f"{value:.7g}") if np.isfinite(value) else None


def _floats(values: np.ndarray) -> bytes:
    return values.astype("<f4").tobytes()
