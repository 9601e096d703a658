"""How a point is sampled: chosen by its predicted time, so that noise in a first estimate cannot change it overnight. Pure.

graph   a CUDA graph of many launches, back to back, which a sample divides by their number: calls predicted below 2 ms
events  one call between two events: longer calls, those that cannot be recorded, and those whose cache is cleared before each
host    many calls back to back by the host's clock: where no hold covers a call (benches/devices/streamed.py)
wall    the host's clock on a CPU, of views, which launch nothing, and of whole training steps, to which the host's time belongs

An event pair adds about 2 us to a call, and a graph's launch about as much to all of its launches together (measured on an H100,
docs/validation): 7% of a call of 30 us, a tenth of a percent of one of 2 ms, and a twentieth of a percent of a graph of 4 ms.

Cold cache: launches rotate through R = ceil(3·L2 / bytes) + 1 sets of inputs and outputs, so that an L2 with least-recently-used
replacement has lost a set three times over when its turn comes again. Where so many sets do not fit or cannot be made, something else
is read before each sample instead: a read, because lines left dirty by a write would be written back at the kernel's expense.
"""

from __future__ import annotations

import math

from benches.devices.base import Method
from benches.row import Cache
from kernels.op import Cost

GRAPH_BELOW_S = 2e-3
GRAPH_S = 4e-3  # of launches in a graph
GRAPH_MAX_S = 0.1  # a prediction this far off must not make a graph that runs for seconds
CAPTURE_MAX_S = 2.0  # of the host, to record a graph
LONG_S = 0.1  # calls that are their own block
MAX_SETS = 4096  # a set takes the host a tenth of a millisecond to make
HOST_LAUNCHES = 1000  # in a sample of what takes the host a microsecond
MEMORY_SHARE = 0.5  # of what is free, that the other sets may take


def rotation(cost: Cost, l2_bytes: int) -> int:
    """R of the module's docstring."""
    return math.ceil(3 * l2_bytes / cost.bytes) + 1


def first(cost: Cost, l2_bytes: int | None, cache: Cache) -> Method:
    """The method of the first estimate, before a time is known: launches one by one."""
    return Method("wall") if l2_bytes is None or cost.bytes == 0 else Method("events", flush=cache == "cold")


def choose(
    estimate_s: float,
    cost: Cost,
    l2_bytes: int | None,
    free_bytes: int | None,
    rotatable: bool,
    cache: Cache,
    *,
    predicted_s: float | None = None,
    enqueue_s: float = 0.0,
    whole: bool = False,
    capturable: bool = True,
) -> Method:
    """The method for a call that takes about `estimate_s`, and by the cost model `predicted_s` (None: no prediction).

    enqueue_s: the host's time for a call. whole: a step of many kernels, to which its host's time belongs. capturable: whether a graph
    can record it.
    """
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
    short = (estimate_s if predicted_s is None else predicted_s) < GRAPH_BELOW_S
    # A flush between the launches of a graph would be in the time.
    if not short or flush or not capturable or sets * estimate_s > GRAPH_MAX_S or sets * enqueue_s > CAPTURE_MAX_S:
        return Method("events", 1, sets, flush)
    rounds = math.ceil(GRAPH_S / (estimate_s * sets))
    recorded = int(CAPTURE_MAX_S / (enqueue_s * sets)) if enqueue_s else rounds
    return Method("graph", sets * min(rounds, recorded), sets)
