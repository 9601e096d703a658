"""The top of the page: what was run, on what, and what stands out."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd

from benches.row import DISTURBED
from benches.run.sentinels import drift, read_sentinels
from benches.run.side_by_side import compared, disturbing, read_ratios
from kernels.listed import and_more
from kernels.registry import OPS
from reports.page import render
from reports.palette import STATUSES
from reports.pick import geometric_mean, largest, pairs
from reports.report import BETWEEN_CPU_RUNS, Report
from reports.section import Remark, Section
from reports.units import MISSING, show

LEAD = "The sweep, the machine and the most notable results, worst first; click a name to open its point."
MAX_REMARKS = 10
FAR = 2.0  # times the prediction, or its inverse: less is within what the cost model can tell
BEYOND = 1.25  # of a ceiling that was measured: less is the spread of a shared machine
BUSY = 0.5  # of the cores, taken by other work: beyond, an OpenMP barrier waits for a core


def summary(report: Report) -> Section:
    """What was run, on what, at most MAX_REMARKS of what stands out, and the best of each family."""
    remarks = [*_failures(report), *_machine(report), *_unsure(report), *_furthest(report), *_ratios(report), *_one_run(report)]
    best = _best(report)
    if not remarks and not best:
        remarks = [_nothing(report)]
    facts = {"what": _what(report), "where": _where(report), "remarks": remarks[:MAX_REMARKS], "best": best, "on_cpu": report.on_cpu}
    body = render("summary.html.j2", **facts)
    return Section("summary", "Summary", LEAD, body)


def _what(report: Report) -> str:
    frame = report.frame
    count = f"{len(frame):,} point{'s' if len(frame) != 1 else ''}"
    sweeps = report.environment.text("sweeps")
    names = [", ".join(frame[c].drop_duplicates()) for c in ("op", "impl", "precision")]
    how = [str(v) for v in (report.environment.fields.get("regime"), report.environment.fields.get("cache")) if v in ("boost", "hot")]
    count += f" ({', '.join(how)})" if how else ""
    return f"{count} of sweep {sweeps}: {names[0]} · {names[1]} · {names[2]}{_duration(report)}"


def _duration(report: Report) -> str:
    ends = [_time(report.environment.fields.get(name)) for name in ("started_utc", "finished_utc")]
    if ends[0] is None or ends[1] is None or ends[1] < ends[0]:  # a clock that was set back says nothing of a duration
        return ""
    minutes, seconds = divmod(round((ends[1] - ends[0]).total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h" if hours else "", f"{minutes} min" if minutes else "", f"{seconds} s" if not hours else ""]
    return f" · in {' '.join(p for p in parts if p)}"


def _time(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _where(report: Report) -> str:
    env = report.environment
    versions = env.fields.get("versions")
    torch = f"torch {versions['torch']}" if isinstance(versions, dict) and versions.get("torch") else "torch version not known"
    device = env.text("device_name") if env.text("device_name") != "not known" else "device not known"
    driver = [f"driver {env.text('driver')}"] if env.fields.get("driver") else []
    commit = f"commit {env.text('commit')[:10]}" + (" with uncommitted changes" if env.fields.get("dirty") else "")
    return " · ".join([device, f"host {env.text('host')}", *driver, torch, commit, f"started {env.text('started_utc')}"])


def _failures(report: Report) -> list[Remark]:
    remarks = []
    for status in STATUSES:
        rows = report.failed[report.failed["status"] == status]
        if len(rows):
            first = rows.iloc[0]
            why = f"{and_more(len(rows) - 1)} — {first['reason'] or 'no reason given'}"
            remarks.append(Remark("bad", f"{len(rows):,} {status}:", first["point"], why))
    if report.environment.fields.get("interrupted"):
        remarks.append(Remark("caution", "The run was interrupted: the sweep's remaining points are missing."))
    return remarks


def _machine(report: Report) -> list[Remark]:
    """What the machine did to the figures: other work at the start, drift of the sentinels in between, GPUs that work beside others."""
    found = [f"it drifted: {reading}" for reading in drift(read_sentinels(report.run_dir))]
    found += [f"sentinels took longer while other GPUs worked: {one}" for one in disturbing(compared(read_ratios([report.run_dir])))]
    load, cpu = report.environment.fields.get("load_1m"), report.environment.fields.get("cpu")
    cores = cpu.get("cores") if isinstance(cpu, dict) else None
    if report.on_cpu and isinstance(load, float) and isinstance(cores, int) and load > BUSY * cores:
        found.insert(0, f"it was busy when the run began (load {load:.1f} on {cores} cores)")
    if report.on_cpu and (beyond := _beyond_ceilings(report)):
        found.append(f"{beyond}, so these were measured while other processes took the CPU: shares are too high")
    return [Remark("caution", f"The machine was not steady, so times may be too long: {'; '.join(found)}.")] if found else []


def _beyond_ceilings(report: Report) -> str:
    """How many points ran faster than a peak or bandwidth that the run measured on its CPU allows; empty where none did."""
    beyond = int((report.timed[["peak_fraction", "bandwidth_fraction"]] > BEYOND).any(axis=1).sum())
    points = "1 point exceeds" if beyond == 1 else f"{beyond:,} points exceed"
    return f"{points} the peaks or bandwidths that were measured as the run began" if beyond else ""


def _remedy(report: Report) -> str:
    """What a reader can do about times that a machine's other work or heat changed."""
    what = "end other work or wait for it" if report.on_cpu else "check clocks, power and other users of the GPU"
    return f"python -m benches doctor names the causes of disturbance; to get narrower intervals, {what}, then measure again."


def _nothing(report: Report) -> Remark:
    """Why there is nothing to remark on: the commonest status and its first reason."""
    counts = report.frame["status"].value_counts()
    if counts.empty:
        return Remark("neutral", "No point has a row.")
    status = str(counts.index[0])
    reason = report.frame.loc[report.frame["status"] == status, "reason"].iloc[0]
    return Remark(
        "neutral", f"Nothing was timed: {counts.iloc[0]} of {len(report.frame)} points are {status}: {reason or 'no reason given'}."
    )


def _unsure(report: Report) -> list[Remark]:
    """One remark on all points whose median is not certain, by why, with the widest interval."""
    timed = report.timed
    kinds = {
        "throttled, since the device was slowed down": timed["status"] == "throttled",
        "noisy, since other processes took the CPU": (timed["status"] == "noisy") & (timed["cause"] == DISTURBED),
        "noisy, since the median did not settle": (timed["status"] == "noisy") & (timed["cause"] != DISTURBED),
    }
    counted = [f"{int(some.sum())} {'is' if some.sum() == 1 else 'are'} {why}" for why, some in kinds.items() if some.any()]
    if not counted:
        return []
    rows = timed[pd.concat(kinds.values(), axis=1).any(axis=1)]
    widest = largest(rows, rows["ci_half_width"]) if rows["ci_half_width"].notna().any() else rows.iloc[0]
    width = f"The widest interval is ±{show(widest['ci_half_width'], 'fraction')}:"
    text = f"{len(timed):,} points were timed: {'; '.join(counted)}. {_remedy(report)} {width}"
    return [Remark("caution", text, widest["point"])]


def _one_run(report: Report) -> list[Remark]:
    """How far an interval can be trusted on a CPU: a row's covers a single process."""
    if not report.on_cpu or not (report.timed["status"] == "ok").any():
        return []
    text = f"An ok and its interval apply to this run only: {BETWEEN_CPU_RUNS}. To measure that, use compare --vs with several runs a side."
    return [Remark("neutral", text)]


def _best(report: Report) -> list[dict[str, object]]:
    """For each family the point nearest to what bounds it: its precision's peak, or the bandwidth where nearly nothing is computed."""
    found = []
    for op, group in report.timed.groupby("op"):
        computes = op in OPS and OPS[str(op)].on_matrix_units
        metric, rate, unit = ("peak_fraction", "flops_per_s", "FLOP/s") if computes else ("bandwidth_fraction", "bytes_per_s", "B/s")
        by = metric if group[metric].notna().any() else rate  # no peak, or no cache, was measured
        if not group[by].notna().any():
            continue
        best = largest(group, group[by])
        level = best["memory_level"] if isinstance(best["memory_level"], str) else "memory"
        of = MISSING if by == rate else f"{best['precision']}'s peak" if computes else f"{level} bandwidth"
        mfu = show(best["mfu"], "fraction") if computes else ""
        found.append({"op": op, "share": best[metric], "of": of, "rate": show(best[rate], unit), "mfu": mfu, "point": best["point"]})
    return found


def _furthest(report: Report) -> list[Remark]:
    """The point that is furthest from its prediction, where that is a factor of FAR or more."""
    predicted = report.timed[report.timed["measured_over_predicted"] > 0]
    if predicted.empty:
        return []
    ratios = predicted["measured_over_predicted"]
    furthest = largest(predicted, np.log(ratios).abs())
    if abs(np.log(furthest["measured_over_predicted"])) < np.log(FAR):
        return []
    beyond = int((np.log(ratios).abs() >= np.log(FAR)).sum())
    text = (
        f"{beyond} of {len(predicted):,} points took over {FAR:g} times their prediction or under 1/{FAR:g} of it (all: geometric mean "
        f"{show(geometric_mean(ratios), 'ratio')}); the furthest took {show(furthest['measured_over_predicted'], 'ratio')}:"
    )
    return [Remark("neutral", text, furthest["point"])]


def _ratios(report: Report) -> list[Remark]:
    """The other implementations against PyTorch in a line, and what was checked only."""
    remarks = []
    ratios = [
        f"{impl} runs at {show(geometric_mean(group['speedup']), 'ratio')} its speed ({len(group):,} pair{'s' if len(group) > 1 else ''})"
        for impl, group in pairs(report.timed).groupby("impl")
    ]
    if ratios:
        remarks.append(Remark("neutral", f"Against torch, in the geometric mean: {', '.join(ratios)}."))
    checked = int((report.frame["status"] == "verified").sum())
    if checked:
        remarks.append(Remark("good", f"{checked} Triton points verified against their reference, not timed: this machine has no GPU."))
    return remarks
