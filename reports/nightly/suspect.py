"""Why a run is not to be trusted: its environment changed, the device was throttled, or it drifted while it ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benches.sentinels import DRIFT, Reading, drift
from reports.nightly.model import NodeShift

THROTTLED = 0.05  # of the timed points
SOFTWARE = ("driver", "clock_policy", "torch", "triton", "cublas")


def environment_changes(before: Mapping[str, Any] | None, tonight: Mapping[str, Any]) -> tuple[str, ...]:
    """What changed since the run before, `driver: 570.1 → 580.2`; nothing on a first night."""
    if before is None:
        return ()
    return tuple(f"{name}: {before[name]} → {tonight[name]}" for name in SOFTWARE if before[name] != tonight[name])


def reasons(
    environment: Sequence[str],
    lines: pd.DataFrame,
    readings: Sequence[Reading],
    shifts: Sequence[NodeShift],
    node: float,
    interrupted: bool,
) -> tuple[str, ...]:
    """One line each; empty for a run that can be trusted. `shifts` are tonight's; `node`: how far one may go."""
    found = [f"The environment changed ({change}): its series begin anew tonight." for change in environment]
    timed = lines["median_s"].notna().sum()
    throttled = int((lines["status"] == "throttled").sum())
    if timed and throttled > THROTTLED * timed:
        found.append(f"{throttled} of {timed} timed points were throttled: look at cooling and power (python -m benches doctor).")
    found += [f"The device drifted while it ran: {one}; at most {DRIFT:.0%} is usual." for one in drift(readings)]
    found += [
        f"Every series on {one.gpu} moved together: {one.ratio - 1:+.1%} (median of {one.series})."
        for one in shifts
        if abs(one.ratio - 1) > node
    ]
    if interrupted:
        found.append("The run was interrupted: the points that are missing were not judged.")
    return tuple(found)
