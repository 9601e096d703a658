"""Same, faster, slower or unclear: each pair's ratio with its interval, and what all pairs together say. Pure.

A pair has changed where "no change" is refuted at a false discovery rate of FALSE_DISCOVERY over all pairs (Benjamini and Hochberg) and
its ratio lies beyond the practical threshold; it is the same where its whole interval lies within. What lies between is unclear, and
so is a pair with a median that cannot be trusted, unless the effect overwhelms. A shift of the whole run counts in every ratio.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from benches.timing.interval import Interval, median_interval
from reports.compare.noise import TAIL_DF, Assumed, Spread, freedom, two_sided
from reports.distributions import false_discovery_q, t_quantile

FALSE_DISCOVERY = 0.01
LEVEL = 0.95  # of the intervals shown
Z_LEVEL = 1.96
JUDGED_BY = ["log_ratio", "low", "high", "q", "doubt", "apart", "single"]


def judge(pairs: pd.DataFrame, spread: Mapping[Hashable, Spread], assumed: Assumed) -> pd.DataFrame:
    """Adds ratio (B over A), low, high, q (p after the correction), at_least (of the change, what is certain: the end of the interval
    nearest to 1, and 1 where it holds 1), verdict and why.

    pairs: as reports.compare.pairing.measured makes them.
    """
    single = pairs["single"].to_numpy(bool)
    between, endless = np.zeros(len(pairs)), np.full(len(pairs), np.inf)
    between[single] = [spread[key].used ** 2 for key in zip(pairs["op"][single], pairs["size"][single], strict=True)]
    parts = {
        "within": (pairs["within_var"].to_numpy(), endless),
        "between": (between, np.full(len(pairs), float(TAIL_DF))),
        "repeated": (pairs["repeated_var"].fillna(0.0).to_numpy(), np.maximum(pairs["repeated_df"].to_numpy(float), 1.0)),
        "common": (pairs["common"].to_numpy() * assumed.common**2, endless),
    }
    own = sum(variance for name, (variance, _) in parts.items() if name != "common")
    error = np.sqrt(own + parts["common"][0])
    df = freedom(parts)
    log_ratio = pairs["log_ratio"].to_numpy()
    reach = t_quantile((1 + LEVEL) / 2, df) * error
    sure = (pairs["doubt"] == "").to_numpy()
    q = np.full(len(pairs), np.nan)
    if sure.any():
        q[sure] = false_discovery_q(two_sided(log_ratio[sure], error[sure], df[sure]))
    low, high = log_ratio - reach, log_ratio + reach
    nearest = np.where(low > 0, low, np.where(high < 0, high, 0.0))
    found = pairs.assign(
        own_var=own,
        ratio=np.exp(log_ratio),
        low=np.exp(low),
        high=np.exp(high),
        q=q,
        at_least=np.where(np.isnan(reach), 1.0, np.exp(nearest)),
    )
    verdicts = [_verdict(row, assumed) for row in found[JUDGED_BY].to_dict("records")]
    return found.assign(verdict=[verdict for verdict, _ in verdicts], why=[why for _, why in verdicts])


def _verdict(pair: Mapping[Hashable, Any], assumed: Assumed) -> tuple[str, str]:
    log_ratio, doubt = float(pair["log_ratio"]), str(pair["doubt"])
    if not doubt:
        return called(log_ratio, math.log(pair["low"]), math.log(pair["high"]), float(pair["q"]), assumed, bool(pair["single"]))
    if abs(log_ratio) > math.log(assumed.overwhelming) and pair["apart"]:
        return "slower" if log_ratio > 0 else "faster", f"the samples of the two runs are far apart, though {doubt}"
    return "unclear", doubt


def called(log_ratio: float, low: float, high: float, q: float, assumed: Assumed, single: bool) -> tuple[str, str]:
    """Verdict and why, of a logarithm of a ratio with its interval. single: of one run a side."""
    threshold = assumed.threshold
    limit = math.log1p(threshold)
    if abs(log_ratio) > limit and q <= FALSE_DISCOVERY:
        if single and abs(log_ratio) < math.log(assumed.alone):
            return (
                "unclear",
                f"one run of each, which calls no change below {assumed.alone:g}× here: make several runs of each and use --vs",
            )
        return "slower" if log_ratio > 0 else "faster", ""
    if max(-low, high) <= limit:
        return "same", ""
    if q <= FALSE_DISCOVERY:
        return "unclear", f"it changed, but possibly by less than {threshold:.0%}"
    if abs(log_ratio) > limit:
        return "unclear", f"runs of the same code can differ as much: q = {q:.2g}, wanted {FALSE_DISCOVERY:g}"
    return "unclear", f"its interval goes beyond {threshold:.0%}"


def shift(pairs: pd.DataFrame) -> Interval | None:
    """The median ratio of all pairs that can be trusted, with its interval (order statistics): what the whole run moved by."""
    trusted = pairs.loc[pairs["doubt"] == "", "ratio"]
    return median_interval(trusted.to_numpy(), Z_LEVEL) if len(trusted) else None
