"""How a point is sampled, from a first estimate of its time. Pure.

Cold cache: launches rotate through R = ceil(3·L2 / bytes) + 1 sets of inputs and outputs, so that an L2 with least-recently-used
replacement has lost a set three times over when its turn comes again. Where so many sets do not fit or cannot be made, something else
is read before each sample instead: a read, because lines left dirty by a write would be written back at the kernel's expense.
"""

from __future__ import annotations

import math

from benches.devices.base import Cache, Method
from kernels.op import Cost

GRAPH_BELOW_S = 10e-6  # shorter than what an event pair resolves to half a percent
GRAPH_S = 0.5e-3  # of launches in a graph: thousands of times the resolution of an event
LONG_S = 0.1  # calls that are their own block
MAX_SETS = 4096  # a set takes the host a tenth of a millisecond to make
HOST_LAUNCHES = 1000  # in a sample of what takes the host a microsecond
MEMORY_SHARE = 0.5  # of what is free, that the other sets may take


def rotation(cost: Cost, l2_bytes: int) -> int:
    """R of the module's docstring."""
    return math.ceil(3 * l2_bytes / cost.bytes) + 1


def first(cost: Cost, l2_bytes: int | None, cache: Cache) -> Method:
    """Of the first estimate, before a time is known: launches one by one."""
    return Method("wall") if l2_bytes is None or cost.bytes == 0 else Method("events", flush=cache == "cold")


def choose(
    estimate_s: float, cost: Cost, l2_bytes: int | None, free_bytes: int | None, rotatable: bool, cache: Cache, whole: bool = False
) -> Method:
    """The method for a point whose call takes about `estimate_s`. `whole`: a step of many kernels, to which its host's time belongs."""
    if cost.bytes == 0:  # a view: no kernel is launched, and what it costs is the host's
        return Method("wall", HOST_LAUNCHES)
    if l2_bytes is None or whole:
        return Method("wall")
    sets, flush = 1, False
    if cache == "cold":
        sets = rotation(cost, l2_bytes)
        fits = free_bytes is None or (sets - 1) * cost.memory_bytes <= MEMORY_SHARE * free_bytes
        flush = not (rotatable and sets <= MAX_SETS and fits)
        sets = 1 if flush else sets
    if estimate_s >= GRAPH_BELOW_S or flush:  # a flush between the launches of a graph would be in the time
        return Method("events", 1, sets, flush)
    return Method("graph", sets * math.ceil(GRAPH_S / (estimate_s * sets)), sets)
