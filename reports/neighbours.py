"""Sizes near a point's own at which the cost model predicts more FLOP/s: where tiles and waves are full. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from kernels.cost_model import predict
from kernels.gpus import Ceilings
from kernels.op import OpError, Point
from kernels.registry import OPS, point_of
from reports.pick import CASE
from reports.units import show

STEPS = (64, 128, 256)  # whose multiples tiles fill
NEAR = 1.5  # times the size, or its inverse: further off is another problem, not a neighbour
BETTER = 1.02  # times the rate, from which another shape is worth naming


@dataclass(frozen=True)
class Neighbour:
    """Another size of one dim, and its predicted rate over the point's own."""

    dim: str
    size: int
    instead_of: int
    gain: float

    def __str__(self) -> str:
        return f"{self.dim} = {self.size} instead of {self.instead_of}: {show(self.gain, 'ratio')} the FLOP/s predicted"


def neighbours(points: Sequence[Point], ceilings: Ceilings) -> list[list[Neighbour]]:
    """For each point the sizes of a single dim, rounded down and up to what tiles fill, at which more FLOP/s are predicted: the best of
    each dim, the largest gain first. Empty where the point is not made of products."""
    changed = [_changed(point) for point in points]
    found = predict([one for i, point in enumerate(points) for one in (point, *(other for *_, other in changed[i]))], ceilings)
    rates = iter((found.flops / found.predicted_s).tolist())
    made = []
    for point, others in zip(points, changed, strict=True):
        own = next(rates)
        best: dict[str, Neighbour] = {}
        for dim, size, _ in others:
            gain = next(rates) / own
            if gain >= BETTER and (dim not in best or gain > best[dim].gain):
                best[dim] = Neighbour(dim, size, point.dims[dim], gain)
        made.append(sorted(best.values(), key=lambda one: -one.gain))
    return made


def neighbour_lines(frame: pd.DataFrame, ceilings: Ceilings | None) -> list[list[str]]:
    """The neighbours of each row of a run, in words; none where the row has no time, or its peak or its op is not known."""
    if ceilings is None:
        return [[] for _ in range(len(frame))]
    timed = frame[(frame["median_s"] > 0) & (frame["predicted_s"] > 0)]
    cases = timed[[*CASE, "impl"]].dropna(subset=CASE).drop_duplicates(CASE)  # implementations of one case are predicted alike
    points = {tuple(row[name] for name in CASE): point_of(row) for row in cases.to_dict("records")}
    known = {key: point for key, point in points.items() if point is not None}
    found = dict(zip(known, neighbours(list(known.values()), ceilings), strict=True))
    keys = zip(*(frame[name] for name in CASE), strict=True)
    return [[str(one) for one in found.get(key, ())] if at in timed.index else [] for at, key in zip(frame.index, keys, strict=True)]


def _changed(point: Point) -> list[tuple[str, int, Point]]:
    if not OPS[point.op].on_matrix_units:
        return []
    made = ((dim, size, _with(point, dim, size)) for dim, before in point.dims.items() for size in sorted(_rounded(before)))
    return [(dim, size, other) for dim, size, other in made if other is not None]


def _rounded(size: int) -> set[int]:
    """Multiples of STEPS just below and above a size and NEAR it, without the size itself."""
    around = {near for step in STEPS for near in (size // step * step, -(-size // step) * step)}
    return {near for near in around if near != size and size / NEAR <= near <= size * NEAR}


def _with(point: Point, dim: str, size: int) -> Point | None:
    """The point with another size of a dim; None where its op refuses that."""
    try:
        return OPS[point.op].point(point.impl, point.precision, {**point.dims, dim: size}, dict(point.options))
    except OpError:
        return None
