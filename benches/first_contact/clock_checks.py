"""What clockwork.jsonl holds, against what the timing code and the simulated device assume. Pure.

The expected ranges are those of an H100 SXM5 measured on 2026-11-26 (docs/validation): latencies ±25% or so, bandwidth ±10%.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import numpy as np

from benches.devices import virtual
from benches.first_contact.check import Check, equal, one_of, within
from benches.row import TIMED

STEP = "clockwork"
US = 1e6
HOLD = "hold: measured over asked"
TOLERANCE = 0.35  # of a latency: that of another driver or host


def judge(measured: Mapping[str, Any]) -> list[Check]:
    """The checks of every section; a section that is missing was not reached in time, one that failed shows why.

    Where holds are not as long as asked, a slow host cannot be judged: nothing holds the stream for it.
    """
    checks: list[Check] = []
    for name, judge_section in JUDGES.items():
        found = measured.get(name)
        if found is None:
            checks.append(Check(STEP, name, None, "", "measured", "unfinished", "the time budget was used up"))
        elif isinstance(found, dict) and "error" in found:
            checks.append(Check(STEP, name, None, "", "measured", "fail", str(found["error"])))
        elif name == "slow_hosts" and any(check.check == HOLD and check.verdict == "fail" for check in checks):
            checks.append(
                Check(
                    STEP,
                    "host sleeps or waits in a launch",
                    None,
                    "",
                    "holds as asked",
                    "skipped",
                    "launch holds have the wrong length",
                )
            )
        else:
            checks += judge_section(found)
    return checks


def assumed(name: str, found: float | None, constant: str, value_s: float, others: str = "") -> Check:
    """Microseconds beside a time that benches/devices/virtual.py assumes. others: what else is in it, for the note."""
    low, high = value_s * US * (1 - TOLERANCE), value_s * US * (1 + TOLERANCE)
    right = "no sample was enqueued in time" if found is None else f"{found:.4g} us is right where {value_s * US:.4g} us is assumed"
    return within(STEP, name, found, "us", low, high, f"{constant} of benches/devices/virtual.py{others}: {right}")


def typical(taken: Mapping[str, Any], scale: float = 1.0) -> float | None:
    """Median of the samples, scaled; None where there are none."""
    return median(taken["seconds"]) * scale if taken["seconds"] else None


def slope(x: list[float], y: list[float]) -> float:
    """Of the least-squares line."""
    return float(np.polyfit(np.asarray(x, float), np.asarray(y, float), 1)[0])


def judge_holds(found: list[dict[str, Any]]) -> list[Check]:
    """A hold must not be shorter than asked, and not much longer; by the slope over the three, which event overhead does not change."""
    asked, taken = [float(one["asked_s"]) for one in found], [typical(one) for one in found]
    if None in taken:
        return [within(STEP, HOLD, None, "", 0.99, 1.1, "no sample was enqueued in time: holds end too early")]
    ratio = slope(asked, [float(seconds or 0) for seconds in taken])
    return [within(STEP, HOLD, ratio, "", 0.99, 1.1, f"SPIN_HZ of benches/devices/cuda.py is too small by a factor of {1 / ratio:.4f}")]


def judge_events(found: dict[str, Any]) -> list[Check]:
    empty, null, two = (typical(found[name], US) for name in ("empty", "null", "two_nulls"))
    step = None if two is None or null is None else two - null
    return [
        assumed("events: nothing between", empty, "EVENT_S", virtual.EVENT_S),
        assumed("events: a null kernel between", null, "EVENT_S + LAUNCH_S + NULL_S", virtual.EVENT_S + virtual.LAUNCH_S + virtual.NULL_S),
        assumed("events: one more null kernel", step, "LAUNCH_S + NULL_S", virtual.LAUNCH_S + virtual.NULL_S),
    ]


def judge_graphs(found: list[dict[str, Any]]) -> list[Check]:
    """Seconds of a graph are latency + launches × null kernel: the slope of the two longest, and what the shortest has beside it.

    Not of those between: on one H100 a graph of 100 null kernels took 80 us and one of 400 took 383 us, on another 98 and 385.
    """
    times = {one["launches"]: typical(one, US) for one in found}
    if None in times.values():
        each = latency = None
    else:
        counts = sorted(times)
        each = slope([float(count) for count in counts[-2:]], [float(times[count] or 0) for count in counts[-2:]])
        latency = float(times[counts[0]] or 0) - counts[0] * each
    return [
        assumed("graph: a null kernel in it", each, "NULL_S", virtual.NULL_S),
        assumed("graph: latency of its launch", latency, "EVENT_S + GRAPH_S", virtual.EVENT_S + virtual.GRAPH_S),
    ]


def judge_queue(found: dict[str, Any]) -> list[Check]:
    note = f"QUEUE of benches/devices/virtual.py is {virtual.QUEUE}; QUEUE of streamed.py must stay well below the measured value"
    return [within(STEP, "queue: the launch that waits", found["depth"], "launches", 0.8 * virtual.QUEUE, 1.2 * virtual.QUEUE, note)]


def judge_host(found: dict[str, float]) -> list[Check]:
    """Costs of the host, at most: it must keep ahead of the device behind a hold."""
    limits_us = {"make_and_record_event": 100, "record_event": 60, "null": 60, "flush": 100, "read": 500}  # twice the slower of two hosts
    return [within(STEP, f"host: {name}", found[name] * US, "us", 0, limit) for name, limit in limits_us.items()]


def judge_copies(found: list[dict[str, Any]]) -> list[Check]:
    """A copy that fits in the L2 is faster hot than cold; one that exceeds it is not; a long one runs at the memory's bandwidth."""
    times = {one["mib"]: {how: typical(one[how]) for how in ("hot", "flushed", "rotated")} for one in found}

    def ratio(mib: int, how: str) -> float | None:
        cold, hot = times[mib][how], times[mib]["hot"]
        return None if cold is None or hot is None else cold / hot

    large = next(one for one in found if one["mib"] == 1024)
    seconds = times[1024]["hot"]
    rate = None if seconds is None else large["bytes"] / seconds / 1e12
    flushed, rotated, exceeding = ratio(8, "flushed"), ratio(8, "rotated"), ratio(32, "rotated")
    bandwidth = "bandwidth_bytes_per_s or bandwidth_fraction of configs/gpus"
    return [
        within(STEP, "flush: 8 MiB copy flushed over hot", flushed, "", 1.12, 3.0, "the flush does not empty the L2"),
        within(STEP, "rotation: 8 MiB copy rotated over hot", rotated, "", 1.12, 3.0, "rotating through sets leaves the L2 warm"),
        within(
            STEP,
            "L2: 32 MiB copy rotated over hot",
            exceeding,
            "",
            0.85,
            1.15,
            "64 MiB stay in the L2: it is larger than assumed",
        ),
        within(STEP, "memory: 1 GiB copy", rate, "TB/s", 2.7, 3.35, bandwidth),
    ]


def judge_load(found: dict[str, Any]) -> list[Check]:
    sampled, flops = found["sampled"], found["flops"]
    by_sampler = flops / sampled["median_s"] / 1e12 if sampled["median_s"] else None
    batch = flops / found["batch_s"] / 1e12 if found["batch_s"] else None
    clock = found["sm_clock_hz"]
    return [
        one_of(STEP, "product: status by the sampler", sampled["status"], TIMED, str(sampled["reason"])),
        within(STEP, "product: bf16 4096³ by the sampler", by_sampler, "TFLOP/s", 530, 900),
        within(STEP, "product: bf16 4096³, 300 back to back", batch, "TFLOP/s", 500, 880),
        within(STEP, "clock: SM under load", clock / 1e6 if clock else None, "MHz", 1100, 2000),
        equal(STEP, "clock: slowed by heat or hardware", ", ".join(found["spoiling"]) or "no", "no", note=f"seconds: {found['slowed_s']}"),
    ]


def judge_slow_hosts(found: dict[str, dict[str, Any]]) -> list[Check]:
    """A host that is slow to enqueue must not change the time; one that waits inside a call is timed by its own clock."""
    quick, sleeping, waiting = (found[name] for name in ("quick", "sleeping", "waiting"))
    ratio = sleeping["median_s"] / quick["median_s"] if sleeping["median_s"] and quick["median_s"] else None
    return [
        one_of(STEP, "host sleeps 2 ms in a launch: status", sleeping["status"], TIMED, str(sleeping["reason"])),
        within(STEP, "host sleeps 2 ms in a launch: over a quick one", ratio, "", 0.85, 1.15, "HOLD_S of benches/devices/streamed.py"),
        one_of(STEP, "host waits in a launch: status", waiting["status"], TIMED, str(waiting["reason"])),
        equal(STEP, "host waits in a launch: mode", waiting["mode"], "host"),
    ]


JUDGES: dict[str, Callable[[Any], list[Check]]] = {
    "holds": judge_holds,
    "events": judge_events,
    "graphs": judge_graphs,
    "queue": judge_queue,
    "host": judge_host,
    "copies": judge_copies,
    "slow_hosts": judge_slow_hosts,
    "load": judge_load,
}
