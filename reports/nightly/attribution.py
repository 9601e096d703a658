"""Why a series changed: what else changed in the night in which it did. Evidence is named; where there is none, so is that. Also how
times differ after an upgrade, with which all series begin anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kernels.fingerprint import source_changed, version
from kernels.listed import first_of
from reports.nightly.model import Attribution, NodeShift
from reports.nightly.nights import POINT_KEY, WAY
from reports.nightly.variables import variable_changes
from reports.units import show
from reports.verdict.thresholds import Thresholds

CODE = {"machine_code_hash": "the machine code", "config": "the chosen configuration"}
SOFTWARE = {
    **{"driver": "the driver", "torch": "torch", "triton": "triton", "cublas": "cuBLAS"},
    **{"cuda_runtime": "the CUDA runtime", "cudnn": "cuDNN", "tuned": "the file of tuned choices"},
}
# How far the medians before and after must lie apart to be worth a line, and the unit they are told in. A lower clock makes slower;
# power and temperature say why a clock moved, and by themselves nothing.
CLOCKS = {"sm_clock_hz": ("SM clock", 0.01, 1e-6, "MHz"), "memory_clock_hz": ("memory clock", 0.005, 1e-6, "MHz")}
AROUND_CLOCKS = {"power_w": ("power", 0.05, 1.0, "W"), "temperature_c": ("temperature", 0.08, 1.0, "°C")}
SENTINEL = 0.01  # relative; sentinels never change, so what moves them is the device
NODE = 0.01  # relative, of every series of a node
FAMILIES = 6  # at most so many are named of those that an upgrade moved
OTHER_GPU = 0.5  # of the change: GPUs that moved less did not change


@dataclass(frozen=True)
class Step:
    """A confirmed change of a series: nights before and after, by name, and its logarithmic size."""

    before: Sequence[str]
    after: Sequence[str]
    difference: float


def attribute(step: Step, lines: pd.DataFrame, sentinels: pd.DataFrame, shifts: Sequence[NodeShift]) -> Attribution:
    """`lines`: of the series, schema.SCHEMA with `night` and `gpu`; `sentinels`: night, gpu, name, seconds.

    Code is asked first, since it changes one series and leaves the machine alone; then software; then the node, whose every series moved
    that night; then this GPU, if others of the history did not move, or its sentinels or conditions did. What a whole GPU moved by is
    taken out of a series before it is judged, so the machine's own moves are no evidence beside a change of code.

    The machine code is compared first: where it is known on both sides, the source is not compared. Source hashes that follow different
    rules cannot be compared either; where nothing else changed, the evidence is a line on that.
    """
    before, after = (lines[lines["night"].isin(list(nights))] for nights in (step.before, step.after))
    old, new = comparable_sources(before, after)
    code = (*changed(CODE, before, after), *([f"the source changed: {old} → {new}"] if source_changed(old, new) else []))
    software = (*changed(SOFTWARE, before, after), *changed_variables(before, after))
    if code or software:
        return Attribution("kernel code" if code else "software", (*code, *software))
    clocks = moved(CLOCKS, before, after, -1 if step.difference > 0 else 1)
    device = (*moved_sentinels(step, sentinels), *clocks, *one_gpu(step, lines, shifts))
    device = (*device, *moved(AROUND_CLOCKS, before, after)) if device else ()
    node = tuple(moved_node(step, shifts))
    if node:
        return Attribution("the node", (*node, *device))
    if device:
        return Attribution("this GPU", device)
    incomparable = source_changed(old, new) is None and bool(old and new)
    return Attribution(
        "unknown", ("the source cannot be compared: its hashes before and after follow different rules",) if incomparable else ()
    )


def changed(fields: dict[str, str], before: pd.DataFrame, after: pd.DataFrame) -> Iterator[str]:
    """Fields whose commonest value is another since: `the chosen configuration changed: 128x128 → 64x64`."""
    for name, words in fields.items():
        old, new = _commonest(before[name]), _commonest(after[name])
        if old is not None and new is not None and old != new:
            yield f"{words} changed: {old} → {new}"


def comparable_sources(before: pd.DataFrame, after: pd.DataFrame) -> tuple[str | None, str | None]:
    """The commonest source hashes before and after, of one version if both sides have one; None where the machine code is known."""
    if _commonest(before["machine_code_hash"]) and _commonest(after["machine_code_hash"]):
        return None, None
    old, new = before["source_hash"].dropna(), after["source_hash"].dropna()
    shared = set(old.map(version)) & set(new.map(version))
    if shared:
        newest = version(new[new.map(version).isin(shared)].iloc[-1])
        old, new = old[old.map(version) == newest], new[new.map(version) == newest]
    return _commonest(old), _commonest(new)


def changed_variables(before: pd.DataFrame, after: pd.DataFrame) -> Iterator[str]:
    """Environment variables whose commonest value is another since."""
    for change in variable_changes(_commonest(before["variables"]), _commonest(after["variables"])):
        yield f"environment variable {change}"


def _commonest(values: pd.Series) -> Any:
    modes = values.dropna().mode()
    return None if modes.empty else modes.iloc[0]


def moved(fields: Mapping[str, tuple[str, float, float, str]], before: pd.DataFrame, after: pd.DataFrame, sign: int = 0) -> Iterator[str]:
    """Conditions whose medians lie apart; with `sign` only those that moved up (1) or down (−1)."""
    for name, (words, least, factor, unit) in fields.items():
        old, new = before[name].median(), after[name].median()
        if old > 0 and abs(new / old - 1) > least and sign * (new - old) >= 0:
            yield f"{words} moved: {old * factor:.0f} → {new * factor:.0f} {unit}"


def moved_sentinels(step: Step, sentinels: pd.DataFrame) -> Iterator[str]:
    """Sentinels whose median time lies apart before and after, in the direction of the change."""
    for name, group in sentinels.groupby("name"):
        old, new = (group.loc[group["night"].isin(list(nights)), "seconds"].median() for nights in (step.before, step.after))
        if old > 0 and abs(new / old - 1) > SENTINEL and (new > old) == (step.difference > 0):
            yield f"sentinel {name} moved: {show(new / old, 'change')}"


def one_gpu(step: Step, lines: pd.DataFrame, shifts: Sequence[NodeShift]) -> Iterator[str]:
    """Where a history has several GPUs of a kind: those on which the series moved, if it did not on others. What a whole GPU moved by is
    taken out first, as it is before a series is judged."""
    whole = {(shift.gpu, shift.night): shift.ratio for shift in shifts}
    places = zip(lines["gpu"], lines["night"], strict=True)
    own = [seconds / whole.get(place, 1.0) for seconds, place in zip(lines["median_s"], places, strict=True)]
    those: list[str] = []
    still: list[str] = []
    for gpu, group in lines.assign(own_s=own).groupby("gpu"):
        old, new = (group.loc[group["night"].isin(list(nights)), "own_s"].median() for nights in (step.before, step.after))
        if old > 0 and new > 0:
            same_way = (new > old) == (step.difference > 0) and abs(new / old - 1) > OTHER_GPU * abs(step.difference)
            (those if same_way else still).append(str(gpu))
    if those and still:
        yield f"only on {', '.join(those)}; not on {', '.join(still)}"


def moved_node(step: Step, shifts: Sequence[NodeShift]) -> Iterator[str]:
    """Nights around the change in which every series of a GPU moved together, the same way."""
    first = step.after[0] if step.after else ""
    for shift in shifts:
        if shift.night == first and abs(shift.unusual - 1) > NODE and (shift.unusual > 1) == (step.difference > 0):
            yield f"every series on {shift.gpu} moved that night: {show(shift.unusual, 'change')}"


def effect(before: pd.DataFrame, tonight: pd.DataFrame, changes: Sequence[str], thresholds: Thresholds) -> list[str]:
    """Returns a line on how times differ since a new driver, torch or triton; no line where the two have no point in common.

    Series begin anew with such a change, so that nothing is confirmed: this is one night against the last of the environment before, by
    family. before, tonight: as nights.levels makes them.
    """
    both = before.merge(tonight[[*POINT_KEY, "log_s"]], on=list(WAY), suffixes=("", "_tonight"))
    modes = both[["mode", "mode_tonight"]]
    both = both[(modes["mode"] == modes["mode_tonight"]) | modes.isna().any(axis=1)]  # an older file does not hold the mode
    if both.empty:
        return []
    moved = (both["log_s_tonight"] - both["log_s"]).groupby([both["op"], both["impl"], both["precision"]]).agg(["mean", "size"])
    large = moved[np.abs(moved["mean"]) > np.log1p([thresholds.of(op) for op, _, _ in moved.index])]
    named = large.reindex(large["mean"].abs().sort_values(ascending=False).index)
    families = [
        f"{' '.join(map(str, key))} {show(np.exp(row['mean']), 'change')} ({row['size']:.0f} points)" for key, row in named.iterrows()
    ]
    listed = first_of(families, FAMILIES)
    return [f"Since {', '.join(changes)}, in the mean, of one night: {listed or 'no family moved by more than matters'}."]
