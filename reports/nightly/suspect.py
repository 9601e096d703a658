"""Why a run is not to be trusted: its environment or the way of timing changed, the device was throttled, it drifted or moved as a whole,
it lacks points that the nights before had, it did not end."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benches.row import KNOWN
from benches.run.sentinels import DRIFT, Reading, drift
from kernels.listed import first_of
from reports.compare.noise import CPU, GPU
from reports.history.schema import SERIES
from reports.nightly.model import NodeShift
from reports.nightly.nights import WAY
from reports.nightly.variables import variable_changes
from reports.units import show

THROTTLED = 0.05  # of the timed points
COMPLETE = 0.95  # of the points that the nights before had
NAMED = 3  # points of each change of mode, and of those that are missing
SOFTWARE = ("driver", "clock_policy", "torch", "triton", "cublas")
LATER = ("cuda_runtime", "cudnn")  # null on the lines of earlier versions, which match any
TUNED = "tuned"  # the hash of the file of tuned choices, null where there is none
OF_A_BOARD = ("vbios",)  # as well, and another board may have another
CPU_TIMES = CPU.common / GPU.common  # a whole run on a shared CPU moves by so many times as much as on a GPU


@dataclass(frozen=True)
class Usual:
    """How far a device moves without anything being wrong, relative: all its series in a night, and a sentinel within a run."""

    node: float
    drift: float


def usual_for(device_kind: str, node: float) -> Usual:
    """node: a GPU's, as configs/verdicts gives it."""
    times = CPU_TIMES if device_kind == "cpu" else 1
    return Usual(times * node, times * DRIFT)


def environment_changes(before: Mapping[str, Any] | None, tonight: Mapping[str, Any]) -> tuple[str, ...]:
    """What changed since the run before, `driver: 570.1 → 580.2`; nothing on a first night."""
    if before is None:
        return ()
    later = [*LATER, *(OF_A_BOARD if before["device_uuid"] == tonight["device_uuid"] else ())]
    known = [*SOFTWARE, *(name for name in later if before[name] is not None and tonight[name] is not None)]
    changed = (f"{name}: {before[name]} → {tonight[name]}" for name in known if before[name] != tonight[name])
    files = [found.get(TUNED) or "no file" for found in (before, tonight)]
    chosen = [f"{TUNED}: {files[0]} → {files[1]}"] if files[0] != files[1] else []
    return (*changed, *chosen, *variable_changes(before["variables"], tonight["variables"]))


def mode_changes(before: pd.DataFrame, tonight: pd.DataFrame) -> dict[str, list[str]]:
    """Points by how their way of timing changed, `events → graph`. before: as nights.modes_before makes it. tonight: a run's lines."""
    both = tonight[tonight["median_s"].notna() & tonight["mode"].notna()].merge(before, on=list(WAY), suffixes=("", "_before"))
    found: dict[str, list[str]] = {}
    for line in both[both["mode"] != both["mode_before"]].sort_values("point").itertuples():
        found.setdefault(f"{line.mode_before} → {line.mode}", []).append(str(line.point))
    return found


def reasons(
    environment: Sequence[str],
    modes: Mapping[str, Sequence[str]],
    lines: pd.DataFrame,
    readings: Sequence[Reading],
    shifts: Sequence[NodeShift],
    usual: Usual,
    interrupted: bool,
    sentinels: float | None = None,
    missing: Sequence[str] = (),
) -> tuple[str, ...]:
    """One line each; empty for a run that can be trusted. shifts: tonight's of this run's GPU. sentinels: what they moved by, a ratio.
    missing: a line where too many points are missing (`missing_points`)."""
    found = [*map(_environment, environment), *([_modes(modes)] if modes else [])]
    timed = lines["median_s"].notna().sum()
    throttled = int((lines["status"] == "throttled").sum())
    if not timed and not lines["status"].isin(["verified", "unsupported", "skipped"]).all():
        found.append("No point was timed.")
    if timed and throttled > THROTTLED * timed:
        found.append(f"{throttled} of {timed} timed points were throttled: look at cooling and power (python -m benches doctor).")
    found += [f"The device drifted while it ran: {one}; at most {usual.drift:.0%} is usual." for one in drift(readings, usual.drift)]
    found += [_moved(one, sentinels, usual) for one in shifts if one.moved is not None and abs(one.moved - 1) > usual.node]
    found += missing
    unknown = lines[~lines["status"].isin(KNOWN["status"])]
    if len(unknown):
        names = ", ".join(sorted(unknown["status"].unique()))
        count = "1 point" if len(unknown) == 1 else f"{len(unknown)} points"
        found.append(
            f"{count} ended with a status that this version does not know ({names}): judge the run with the version that wrote it."
        )
    if interrupted:
        found.append("The run did not finish: the missing points were not judged.")
    return tuple(found)


def missing_points(expected: Sequence[str], present: Container[str]) -> list[str]:
    """Returns a line that names the first NAMED missing points where fewer than COMPLETE of the expected ones are present; else none."""
    missing = [point for point in expected if point not in present]
    here = len(expected) - len(missing)
    if here >= COMPLETE * len(expected):
        return []
    return [
        f"{here} of {len(expected)} points that the nights before had were measured: {first_of(missing, NAMED)} "
        f"{'is' if len(missing) == 1 else 'are'} missing. Check how the run was started and how it ended."
    ]


def begins_anew(change: str) -> bool:
    """Whether series begin anew with such a change of the environment."""
    return change.split(":", maxsplit=1)[0] in SERIES


def _environment(change: str) -> str:
    begins = "its series begin anew tonight; `python -m reports compare` with the run before shows the effect"
    return f"The environment changed ({change}): {begins if begins_anew(change) else 'check this first'}."


def _modes(changes: Mapping[str, Sequence[str]]) -> str:
    told = [f"{change}: {first_of(points, NAMED)}" for change, points in changes.items()]
    count = sum(map(len, changes.values()))
    points, series, they = (
        ("1 point is", "its series begins", "it was") if count == 1 else (f"{count} points are", "their series begin", "they were")
    )
    return (
        f"{points} timed in another mode than before ({'; '.join(told)}): {series} anew tonight, unless {they} timed in that mode earlier."
    )


def _moved(one: NodeShift, sentinels: float | None, usual: Usual) -> str:
    moved = one.unusual - 1
    text = f"Every series on {one.gpu} shifted together: {show(one.unusual, 'change')} from the usual level there (median of {one.series})"
    if sentinels is None:
        return f"{text}."
    if (sentinels - 1) / moved < 0.5:
        return (
            f"{text}; the sentinels, whose code never changes, by {show(sentinels, 'change')} only: look for a change in the code that "
            "most points share. Points that did not move with them look changed the other way."
        )
    return f"{text}; so did the sentinels, by {show(sentinels, 'change')}: look at the machine."
