"""What a device's stream does, measured in a worker: holds, events, graphs, the launch queue, the cache, clocks under load.

Everything goes through `Stream` of benches/devices/streamed.py, so that a CUDA board and the simulated one are measured alike. Each
section writes its figures (seconds and bytes) to clockwork.jsonl when it ends; `clock_checks` judges them.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benches.devices.streamed import Stream
from benches.first_contact.output import append
from benches.first_contact.planted import altered
from benches.run import worker
from benches.timing.measure import measure
from benches.timing.method import rotation
from benches.timing.throttle import slowed, spoiling
from kernels.op import Point
from kernels.registry import OPS

HOLDS_S = (0.2e-3, 2e-3, 10e-3)
HOLD_S = 0.4e-3  # before a sample: the host needs 30 us for one
GRAPHS = (1, 10, 100, 400, 4000)
QUEUE_HOLD_S, QUEUE_MOST, BLOCKED_S = 0.1, 3000, 0.02
COPIES_MIB = {8: (1024, 2048), 32: (2048, 4096), 1024: (16384, 16384)}  # of fp32 read, and as many written
BACK_TO_BACK, LOAD_S = 300, 1.0
SLOW_HOST_S = 2e-3
HOST_REPEATS = 50


def run(folder: str, seed: int) -> None:
    """In a worker: measures every section and writes each as it ends."""
    for name, measured in sections(worker.bench().device, seed):
        append(Path(folder), name, measured)


def sections(device: Any, seed: int) -> Iterator[tuple[str, Any]]:
    """(name, measured) of every section; one that fails gives {"error": …} and costs no other."""
    for name, section in SECTIONS.items():
        try:
            yield name, section(device, seed)
        except Exception as error:
            traceback.print_exc()
            yield name, {"error": f"{type(error).__name__}: {error}"}


def between(stream: Stream, call: Callable[[], Any], count: int, flush: bool = False, hold_s: float = HOLD_S) -> dict[str, Any]:
    """Seconds between two events around a call, behind a hold, `count` times; how many of them the host enqueued too late is `late`."""
    seconds, late = [], 0
    for _ in range(count):
        start, end = stream.event(), stream.event()
        stream.hold(hold_s)
        if flush:
            stream.flush()
        start.record()
        call()
        end.record()
        in_time = not start.query()
        end.synchronize()
        if in_time:
            seconds.append(start.seconds_to(end))
        late += not in_time
    return {"seconds": seconds, "late": late}


def holds(device: Any, seed: int) -> list[dict[str, Any]]:
    """[{asked_s, seconds}]: how long a hold lasts, from the end of another one."""
    stream = device.stream
    return [{"asked_s": asked, **between(stream, partial(stream.hold, asked), 10)} for asked in HOLDS_S]


def events(device: Any, seed: int) -> dict[str, Any]:
    """{empty, null, two_nulls}: seconds between two events with nothing, one and two null kernels between them."""
    stream = device.stream

    def two() -> None:
        stream.null()
        stream.null()

    return {
        "empty": between(stream, lambda: None, 1000),
        "null": between(stream, stream.null, 200),
        "two_nulls": between(stream, two, 200),
    }


def graphs(device: Any, seed: int) -> list[dict[str, Any]]:
    """[{launches, seconds, host_s, capture_s}] of graphs of null kernels."""
    stream, found = device.stream, []
    for launches in GRAPHS:
        begin = stream.now_s()
        replay = stream.capture(stream.null, launches)
        capture_s = stream.now_s() - begin
        replay()
        stream.synchronize()
        host = []
        for _ in range(5):
            begin = stream.now_s()
            replay()
            host.append(stream.now_s() - begin)
            stream.synchronize()
        found.append({"launches": launches, **between(stream, replay, 20), "host_s": median(host), "capture_s": capture_s})
    return found


def queue(device: Any, seed: int) -> dict[str, Any]:
    """{depth}: the launch that made the host wait, None if none of QUEUE_MOST did."""
    stream = device.stream
    stream.synchronize()
    stream.hold(QUEUE_HOLD_S)
    depth = None
    for launch in range(1, QUEUE_MOST + 1):
        begin = stream.now_s()
        stream.null()
        if stream.now_s() - begin > BLOCKED_S:
            depth = launch
            break
    stream.synchronize()
    return {"depth": depth}


def host(device: Any, seed: int) -> dict[str, float]:
    """Median seconds of the host, by call."""
    stream = device.stream
    stream.synchronize()
    event = stream.event()
    calls: dict[str, Callable[[], Any]] = {
        "make_and_record_event": lambda: stream.event().record(),
        "record_event": event.record,
        "query_event": event.query,
        "null": stream.null,
        "flush": stream.flush,
        "synchronize": stream.synchronize,
        "read": device.read,
    }
    found = {}
    for name, call in calls.items():
        taken = []
        for _ in range(HOST_REPEATS):
            begin = stream.now_s()
            call()
            taken.append(stream.now_s() - begin)
        stream.synchronize()
        found[name] = median(taken)
    return found


def copies(device: Any, seed: int) -> list[dict[str, Any]]:
    """[{mib, bytes, sets, hot, flushed, rotated}]: one copy over the same buffers, after a flush, and through rotating buffers."""
    stream, found = device.stream, []
    for mib, (m, n) in COPIES_MIB.items():
        point = OPS["elementwise"].point("torch", "fp32", {"m": m, "n": n}, {"function": "copy"})
        workload = device.load(point, seed)
        count = 40 if mib < 1024 else 10
        between(stream, workload.launch, 3)
        hot, flushed = between(stream, workload.launch, count), between(stream, workload.launch, count, flush=True)
        sets = rotation(workload.cost, device.l2_bytes)
        workload.rotate(sets)
        for _ in range(sets):
            workload.launch()
        stream.synchronize()
        rotated = between(stream, workload.launch, max(count, 2 * sets))
        found.append({"mib": mib, "bytes": workload.cost.bytes, "sets": sets, "hot": hot, "flushed": flushed, "rotated": rotated})
        workload.rotate(1)
    return found


def product() -> Point:
    """bf16, 4096³."""
    return OPS["matmul"].point("torch", "bf16", {"m": 4096, "n": 4096, "k": 4096})


def load(device: Any, seed: int) -> dict[str, Any]:
    """{flops, sampled, batch_s, sm_clock_hz, slowed_s}: a product by the sampler and back to back, and what slowed the board meanwhile."""
    stream, point = device.stream, product()
    before = device.counters()
    row = measure(point, device, seed)
    workload = device.load(point, seed)
    begin = stream.now_s()
    while stream.now_s() - begin < LOAD_S:
        for _ in range(50):
            workload.launch()
        stream.synchronize()
    start, end = stream.event(), stream.event()
    stream.hold(HOLDS_S[-1])
    start.record()
    for _ in range(BACK_TO_BACK):
        workload.launch()
    end.record()
    in_time = not start.query()
    start.synchronize()
    reading = device.read()
    end.synchronize()
    causes = slowed(before, device.counters())
    return {
        "flops": workload.cost.flops,
        "sampled": {"status": row.status, "reason": row.reason, "mode": row.mode, "median_s": row.median_s},
        "batch_s": start.seconds_to(end) / BACK_TO_BACK if in_time else None,
        "sm_clock_hz": reading.sm_clock_hz,
        "power_w": reading.power_w,
        "temperature_c": reading.temperature_c,
        "reasons": reading.reasons,
        "slowed_s": causes,
        "spoiling": spoiling(causes),
    }


def slow_hosts(device: Any, seed: int) -> dict[str, Any]:
    """{quick, sleeping, waiting}: a small product by the sampler as it is, on a host that sleeps in each launch, and on one that waits."""
    stream = device.stream
    point = OPS["matmul"].point("torch", "bf16", {"m": 2048, "n": 2048, "k": 2048})
    pauses: dict[str, Callable[[], None] | None] = {
        "quick": None,
        "sleeping": lambda: sleep_host(stream, SLOW_HOST_S),
        "waiting": stream.synchronize,
    }
    found = {}
    for name, pause in pauses.items():
        with altered(device, point.id, before=pause):
            row = measure(point, device, seed)
        fields = ("status", "reason", "mode", "median_s", "enqueue_s", "launch_bound")
        found[name] = {field: getattr(row, field) for field in fields}
    return found


def sleep_host(stream: Any, seconds: float) -> None:
    """Lets the host do something else while the device goes on: a virtual host's clock is set forward."""
    if hasattr(stream, "host_s"):
        stream.host_s += seconds
    else:
        time.sleep(seconds)


SECTIONS: dict[str, Callable[[Any, int], Any]] = {
    "holds": holds,
    "events": events,
    "graphs": graphs,
    "queue": queue,
    "host": host,
    "copies": copies,
    "load": load,
    "slow_hosts": slow_hosts,  # the last: a capture fails in it, after which the process is not used for anything else
}
