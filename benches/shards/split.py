"""Which points are in which part of a sweep: the same on every machine, and parts that take about the same time. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from heapq import heapify, heapreplace

from benches.plan import POINT_S, make_plan
from benches.sweep.load import Sweep
from kernels.gpus import DEFAULT_GPU, load_gpu
from kernels.op import Point

PART = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


class ShardError(ValueError):
    """The text does not name a part. The message is one line."""


def parse_shard(text: str) -> tuple[int, int]:
    """Returns k and n of `k/n`, where k counts from 1. Raises ShardError."""
    match = PART.fullmatch(text.strip())
    if match and 1 <= int(match[1]) <= int(match[2]):
        return int(match[1]), int(match[2])
    raise ShardError(f"{text!r} is not a part such as 1/4: K/N, where K counts from 1 to N")


def split(seconds: Mapping[str, float], parts: int) -> list[list[str]]:
    """Returns the names in so many parts: the longest first, each to the part that has the least so far, of equal ones the first. The
    longest part then exceeds the shortest by no more than one name's seconds (Graham 1969). Whole milliseconds, so that the last bit of a
    machine's arithmetic moves no point; names of equal length in alphabetical order.
    """
    found: list[list[str]] = [[] for _ in range(parts)]
    loads = [(0, part) for part in range(parts)]
    heapify(loads)
    for milliseconds, name in sorted((-round(1e3 * length), name) for name, length in seconds.items()):
        load, part = loads[0]
        found[part].append(name)
        heapreplace(loads, (load - milliseconds, part))
    return found


def point_seconds(sweep: Sweep) -> dict[str, float]:
    """Returns how long each point is expected to take on the default GPU with all that comes with it, whatever this machine is."""
    plan = make_plan(sweep, load_gpu(DEFAULT_GPU), here=False)
    total = (plan.sampling_s + plan.rest_s).tolist()
    return {point.id: max(seconds, POINT_S) for point, seconds in zip(plan.points, total, strict=True)}


def shard_points(sweep: Sweep, shard: str) -> Sequence[Point]:
    """Returns the points of a part, in the sweep's order. Raises ShardError."""
    k, n = parse_shard(shard)
    names = set(split(point_seconds(sweep), n)[k - 1])
    return [point for point in sweep.points if point.id in names]
