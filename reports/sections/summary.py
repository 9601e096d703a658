"""The top of the page: what was run, on what, and what stands out."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd

from benches.run.sentinels import drift, read_sentinels
from kernels.registry import OPS
from reports.page import render
from reports.palette import STATUSES
from reports.pick import geometric_mean, largest, pairs
from reports.report import BETWEEN_CPU_RUNS, Report
from reports.section import Remark, Section
from reports.units import show

LEAD = "What was run, on what, and what stands out, worst first; the names lead to the points."
BUSY = 0.5  # of the cores, taken by other work: beyond, an OpenMP barrier waits for a core


def summary(report: Report) -> Section:
    """Three lines, computed from the data."""
    remarks = [*_failures(report), *_machine(report), *_unsure(report), *_best(report), *_furthest(report), *_ratios(report)]
    remarks += _one_run(report)
    body = render("summary.html.j2", what=_what(report), where=_where(report), remarks=remarks or [_nothing(report)])
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
            more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
            remarks.append(Remark("bad", f"{len(rows)} {status}:", first["point"], f"{more} — {first['reason'] or 'no reason given'}"))
    if report.environment.fields.get("interrupted"):
        remarks.append(Remark("caution", "The run was interrupted: the sweep's remaining points are missing."))
    return remarks


def _machine(report: Report) -> list[Remark]:
    """What the machine did to the figures: other work at the start, drift of the sentinels in between."""
    remarks = [Remark("caution", f"The machine drifted: {found}.") for found in drift(read_sentinels(report.run_dir))]
    load, cpu = report.environment.fields.get("load_1m"), report.environment.fields.get("cpu")
    cores = cpu.get("cores") if isinstance(cpu, dict) else None
    if report.on_cpu and isinstance(load, float) and isinstance(cores, int) and load > BUSY * cores:
        remarks.append(
            Remark("caution", f"The machine was busy when the run began (load {load:.1f} on {cores} cores): times are too long.")
        )
    return remarks


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
    remarks = []
    for status, what in (("throttled", "the device was slowed down"), ("noisy", "the median did not settle")):
        rows = report.frame[report.frame["status"] == status]
        if len(rows):
            widest = largest(rows, rows["ci_half_width"]) if rows["ci_half_width"].notna().any() else rows.iloc[0]
            text = f"{len(rows)} of {len(report.timed):,} timed points {status} ({what}); the widest interval:"
            remarks.append(Remark("caution", text, widest["point"], f" ±{show(widest['ci_half_width'], 'fraction')}"))
    return remarks


def _one_run(report: Report) -> list[Remark]:
    """How far an interval can be trusted on a CPU: a row's covers a single process."""
    if not report.on_cpu or not (report.timed["status"] == "ok").any():
        return []
    text = f"An ok and its interval hold for this run: {BETWEEN_CPU_RUNS}. To measure that, use compare --vs with several runs a side."
    return [Remark("neutral", text)]


def _best(report: Report) -> list[Remark]:
    """For each family the point nearest to its own peak, MFU beside it on a GPU; by bandwidth where nearly nothing is computed."""
    remarks = []
    for op, group in report.timed.groupby("op"):
        metric = "peak_fraction" if op in OPS and OPS[str(op)].on_matrix_units else "bandwidth_fraction"
        if not group[metric].notna().any():
            continue
        best = largest(group, group[metric])
        if metric == "bandwidth_fraction":
            words = f"of the memory bandwidth, {show(best['bytes_per_s'], 'B/s')}"
        else:
            mfu = "" if report.on_cpu else f" (MFU {show(best['mfu'], 'fraction')})"
            words = f"of {best['precision']}'s peak{mfu}, {show(best['flops_per_s'], 'FLOP/s')}"
        remarks.append(Remark("good", f"Best {op}: {show(best[metric], 'fraction')} {words}:", best["point"]))
    return remarks


def _furthest(report: Report) -> list[Remark]:
    predicted = report.timed[report.timed["measured_over_predicted"] > 0]
    if predicted.empty:
        return []
    ratios = predicted["measured_over_predicted"]
    furthest = largest(predicted, np.log(ratios).abs())
    text = f"Furthest from its prediction: {show(furthest['measured_over_predicted'], 'ratio')} the predicted time:"
    return [Remark("neutral", text, furthest["point"], f" (all: geometric mean {show(geometric_mean(ratios), 'ratio')})")]


def _ratios(report: Report) -> list[Remark]:
    paired = pairs(report.timed)
    remarks = [_ratio(str(impl), group) for impl, group in paired.groupby("impl")]
    checked = int((report.frame["status"] == "verified").sum())
    if checked:
        remarks.append(Remark("good", f"{checked} Triton points verified against their reference, not timed: this machine has no GPU."))
    return remarks


def _ratio(impl: str, group: pd.DataFrame) -> Remark:
    best = largest(group, group["speedup"])
    pairs = "1 pair" if len(group) == 1 else f"{len(group):,} pairs"
    text = f"{impl} runs at {show(geometric_mean(group['speedup']), 'ratio')} the speed of torch over {pairs}; at most"
    return Remark("neutral", f"{text} {show(best['speedup'], 'ratio')}:", best["point"])
