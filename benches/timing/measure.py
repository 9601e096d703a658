"""One point, from unsupported to timed: inputs, gate, timing, gate again, physics, row."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from statistics import median
from time import perf_counter  # before other people's code is imported, which could replace it
from typing import Any

from benches.correctness import Verdict
from benches.devices.base import Device, Method, TooLittleMemory, Workload
from benches.row import CHECKED_ONLY, DISTURBED, Cache, Row, Status, new_row
from benches.timing import physics
from benches.timing.failure import cause_of, first_words
from benches.timing.sampler import Timing, sample
from kernels.fingerprint import source_hash
from kernels.op import Point, Unsupported
from kernels.registry import OPS, impl_of

PHASE_ROUNDS = 9
AS_IT_IS, POISONED = (False,), (True,)  # what outputs hold before a launch that is checked
MEASURED_ONCE = (
    "config",
    "config_origin",
    "peak_memory_bytes",
    "scratch_bytes",
    "machine_code_hash",
    "fresh_inputs",
)  # known after the first launch


def keep_nothing(point: Point, error: Exception) -> None:
    """Where there is no folder for whole messages."""


def measure(
    point: Point, device: Device, seed: int, timing: bool = True, keep: Callable[[Point, Exception], str | None] = keep_nothing
) -> Row:
    """One point's row; without `timing` it is checked only. What a kernel does wrong is a status; KeyboardInterrupt passes.

    keep: puts an error's whole message away, and returns where it lies (the row's `error_file`).
    """
    started = datetime.now(UTC).isoformat(timespec="milliseconds")
    start, where = perf_counter(), device.platform(impl_of(point).language).kind

    def row(status: Status, reason: str | None = None, **fields: Any) -> Row:
        wall = perf_counter() - start
        op = OPS[point.op]
        found = {"started_utc": started, "wall_s": wall, "source_hash": source_hash(op, point.impl), "cost_source": op.cost_source(point)}
        return new_row(point, op.cost(point, where), status, reason, **found, **fields)

    try:
        refusal = refuse(point, device)
        if refusal:
            return row(*refusal)
        workload = device.load(point, seed)
        interpreted = device.platform(impl_of(point).language).interpreted
        verdict = gate(workload, POISONED if interpreted else AS_IT_IS + POISONED)
        found = {name: getattr(workload, name) for name in MEASURED_ONCE} | {"tolerance": OPS[point.op].tolerance_source(point)}
        if not verdict.ok:
            return row("wrong", verdict.problem, cause=verdict.cause, **found)
        found["error_over_tolerance"] = verdict.worst
        if interpreted:
            shape = "x".join(str(v) for v in OPS[point.op].shrink(point).dims.values())
            return row("verified", f"correct at {shape} in Triton's interpreter; there is no GPU to time it on", **found)
        if not timing:
            return row("verified", "correct; timing was switched off", cause=CHECKED_ONLY, **found)
        result = sample(device, workload, device.predict_s(point))
        how = {"mode": result.method.mode, "launches": result.method.launches, "sets": result.method.sets, "dropped": result.dropped}
        verdict = gate_again(device, workload, result)
        found["fresh_inputs"] = workload.fresh_inputs
        if not verdict.ok:
            return row("wrong", f"correct before timing, wrong after it: {verdict.problem}", cause=verdict.cause, **how, **found)
        least_s = physics.least_s(point, workload.cost, device.gpu, device.settings.cache) if device.gpu else 0.0
        if result.interval.median < least_s:
            return row("impossible", impossible(result.interval.median, least_s), **how, **found)
        found["phases_s"] = phase_times(device, workload)
        disturbance = device.disturbance() if result.status == "ok" else None
        status, reason = ("noisy", disturbance) if disturbance else (result.status, result.reason)
        found["loops"] = [asdict(loop) for loop in workload.loops]  # read when nothing is timed any more
        return row(status, reason, cause=DISTURBED if disturbance else None, **timed(device, result), **how, **found)
    except Unsupported as e:
        return row("unsupported", str(e))
    except TooLittleMemory as e:
        return row("oom", str(e))
    except Exception as e:  # whatever a kernel or a compiler raises costs this point and no other
        return row("error", describe(e), cause=cause_of(e), error_file=keep(point, e))


def gate(workload: Workload, outputs: tuple[bool, ...] = AS_IT_IS + POISONED, launch: Callable[[], Any] | None = None) -> Verdict:
    """The worst of a launch each over other values than the kernel was built with, the outputs full of NaN where `outputs` is True.

    As it is, a kernel that computes only where it finds NaN, or nothing where it knows the operands' address, leaves what was there.
    """
    workload.refill()
    for poisoned in outputs:
        if poisoned or workload.updates:  # which start from their first values each time
            workload.poison()
        (launch or workload.launch)()
        workload.keep()
    return workload.verify()


def gate_again(device: Device, workload: Workload, timing: Timing) -> Verdict:
    """More samples, as they were taken: what was timed is what is checked. Three, so that a kernel that leaves out calls is seen.

    Where launches update what they find, a sample of many would have to be compared with as many steps: one is launched instead.
    """
    sampled = None if workload.updates else partial(device.take_samples, workload, timing.method)
    return gate(workload, AS_IT_IS + POISONED + POISONED, sampled)


def phase_times(device: Device, workload: Workload) -> dict[str, float]:
    """Median seconds of each phase of a launch, over PHASE_ROUNDS rounds after one that is left out; empty for a call without phases."""
    rounds = [[device.phase(call) for _, call in workload.phases] for _ in range(PHASE_ROUNDS + 1)][1:] if workload.phases else []
    return {name: median(found[i] for found in rounds) for i, (name, _) in enumerate(workload.phases)}


def impossible(median_s: float, least_s: float) -> str:
    """For a reader."""
    return f"median {median_s:.4g} s is below {least_s:.4g} s, the least that its FLOPs and its traffic take at the device's peaks"


def refuse(point: Point, device: Device) -> tuple[Status, str] | None:
    """Why a point is not started at all."""
    impl = impl_of(point)
    platform = device.platform(impl.language)
    why = impl.unsupported(point, platform)
    if why:
        return "unsupported", why
    if platform.interpreted:
        return None
    expected = device.predict_s(point)
    limit = device.settings.max_call_s
    if expected is not None and expected > limit:
        return "skipped", f"one call would take about {expected:.3g} s here; the limit is {limit:g} s"
    return None


def timed(device: Device, timing: Timing) -> dict[str, Any]:
    """The fields of a timed row."""
    return {
        "median_s": timing.interval.median,
        "ci_low_s": timing.interval.low,
        "ci_high_s": timing.interval.high,
        "samples_s": timing.samples_s,
        "timer": device.timer,
        "regime": device.settings.regime,
        "cache": cache(timing.method, device.settings.cache),
        "warmup_s": timing.warmup_s,
        "duty": timing.duty,
        "floor_s": timing.floor_s,
        "enqueue_s": timing.enqueue_s,
        "launch_bound": timing.launch_bound,
        "conditions": timing.conditions,
    }


def cache(method: Method, asked: Cache) -> Cache:
    """What calls found: by the host's clock they follow one another, and only other sets of operands can keep the cache cold."""
    by_host = method.mode == "wall" or (method.mode == "host" and method.sets == 1)
    return "hot" if by_host else asked


def describe(error: Exception) -> str:
    """Type, first telling line, and the place that raised it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{first_words(error)} ({frame.filename.rsplit('/', 1)[-1]}:{frame.lineno})"
