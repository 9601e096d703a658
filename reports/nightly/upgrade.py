"""What a new driver, torch or triton did to times. Series begin anew with it, so that nothing is confirmed: this is one night against the
last of the environment before, by family."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from reports.nightly.nights import POINT_KEY, WAY
from reports.verdict.thresholds import Thresholds

SHOWN = 6  # families


def effect(before: pd.DataFrame, tonight: pd.DataFrame, changes: Sequence[str], thresholds: Thresholds) -> list[str]:
    """A line, and none where they have no point in common. before, tonight: as nights.levels makes them. Pure."""
    both = before.merge(tonight[[*POINT_KEY, "log_s"]], on=list(WAY), suffixes=("", "_tonight"))
    modes = both[["mode", "mode_tonight"]]
    both = both[(modes["mode"] == modes["mode_tonight"]) | modes.isna().any(axis=1)]  # which of them an older file does not hold
    if both.empty:
        return []
    moved = (both["log_s_tonight"] - both["log_s"]).groupby([both["op"], both["impl"], both["precision"]]).agg(["mean", "size"])
    large = moved[np.abs(moved["mean"]) > np.log1p([thresholds.of(op) for op, _, _ in moved.index])]
    named = large.reindex(large["mean"].abs().sort_values(ascending=False).index)
    families = [f"{' '.join(map(str, key))} {np.expm1(row['mean']):+.1%} ({row['size']:.0f} points)" for key, row in named.iterrows()]
    told = ", ".join(families[:SHOWN]) + (f" and {len(families) - SHOWN} more" if len(families) > SHOWN else "")
    return [f"Since {', '.join(changes)}, in the mean, of one night: {told or 'no family moved by more than matters'}."]
