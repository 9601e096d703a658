"""Same, faster, slower or unclear: each pair's ratio with its interval, and what all pairs together say. Pure.

A pair has changed where "no change" is refuted at a false discovery rate of FALSE_DISCOVERY over all pairs (Benjamini and Hochberg) and
its ratio lies beyond the practical threshold; it is the same where its whole interval lies within. What lies between is unclear, and
so is a pair with a median that cannot be trusted, unless the effect overwhelms. A shift of the whole run counts in every ratio.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, t

from benches.interval import Interval, median_interval
from reports.compare.noise import TAIL_DF, Assumed, Spread, freedom, two_sided

FALSE_DISCOVERY = 0.01
LEVEL = 0.95  # of the intervals shown
Z_LEVEL = 1.96


@dataclass(frozen=True)
class Family:
    """Geometric mean of the ratios that can be trusted, of one op, implementation and precision; NaN where there is none."""

    op: str
    impl: str
    precision: str
    pairs: int
    trusted: int  # that the mean is over
    ratio: float
    low: float
    high: float
    verdicts: Mapping[str, int]


def judge(pairs: pd.DataFrame, spread: Mapping[Hashable, Spread], assumed: Assumed) -> pd.DataFrame:
    """Adds ratio (B over A), low, high, q (p after the correction), at_least (of the change, what is certain: the end of the interval
    nearest to 1, and 1 where it holds 1), verdict and why.

    pairs: as reports.compare.pairing.measured makes them.
    """
    between = np.array([spread[key].used ** 2 for key in zip(pairs["op"], pairs["size"], strict=True)]) * pairs["single"].to_numpy() / 2
    endless = np.full(len(pairs), np.inf)
    parts = {
        "a": (pairs["within_a"].to_numpy(), pairs["df_a"].to_numpy(float)),
        "b": (pairs["within_b"].to_numpy(), pairs["df_b"].to_numpy(float)),
        "between": (between, np.full(len(pairs), float(TAIL_DF))),
        "common": (np.full(len(pairs), 2 * assumed.common**2), endless),
    }
    own = parts["a"][0] + parts["b"][0] + between
    error = np.sqrt(own + parts["common"][0])
    df = freedom(parts)
    log_ratio = pairs["log_ratio"].to_numpy()
    reach = t.ppf((1 + LEVEL) / 2, df) * error
    sure = (pairs["doubt"] == "").to_numpy()
    q = np.full(len(pairs), np.nan)
    if sure.any():
        q[sure] = false_discovery_control(two_sided(log_ratio[sure], error[sure], df[sure]))
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
    called = [_verdict(row, assumed) for row in found.to_dict("records")]
    return found.assign(verdict=[verdict for verdict, _ in called], why=[why for _, why in called])


def _verdict(pair: Mapping[Hashable, Any], assumed: Assumed) -> tuple[str, str]:
    log_ratio, q, doubt = float(pair["log_ratio"]), float(pair["q"]), str(pair["doubt"])
    low, high = math.log(pair["low"]), math.log(pair["high"])
    limit = math.log1p(assumed.threshold)
    direction = "slower" if log_ratio > 0 else "faster"
    if doubt:
        if abs(log_ratio) > math.log(assumed.overwhelming) and pair["apart"]:
            return direction, f"no sample of one run comes near the other's, though {doubt}"
        return "unclear", doubt
    if abs(log_ratio) > limit and q <= FALSE_DISCOVERY:
        return direction, ""
    if max(-low, high) <= limit:
        return "same", ""
    if q <= FALSE_DISCOVERY:
        return "unclear", f"it changed, but maybe by less than {assumed.threshold:.0%}"
    if abs(log_ratio) > limit:
        return "unclear", f"runs of the same code differ as much: q = {q:.2g}, wanted {FALSE_DISCOVERY:g}"
    return "unclear", f"its interval goes beyond {assumed.threshold:.0%}"


def families(pairs: pd.DataFrame, assumed: Assumed) -> list[Family]:
    """By op, implementation and precision, and last all pairs together where there are several families. The interval is of the mean
    over just these points: other shapes may differ. What moves a whole run does not average out."""
    found = [_family(key, group, assumed) for key, group in pairs.groupby(["op", "impl", "precision"], sort=True)]
    return [*found, _family(("all", "", ""), pairs, assumed)] if len(found) > 1 else found


def _family(key: Sequence[object], group: pd.DataFrame, assumed: Assumed) -> Family:
    trusted = group[group["doubt"] == ""]
    n = len(trusted)
    mean = float(trusted["log_ratio"].mean()) if n else math.nan
    parts = {
        "own": (np.array([trusted["own_var"].sum() / n**2 if n else math.nan]), np.array([float(TAIL_DF)])),
        "common": (np.array([2 * assumed.common**2]), np.array([np.inf])),
    }
    reach = float(t.ppf((1 + LEVEL) / 2, freedom(parts))[0]) * math.sqrt(float(parts["own"][0][0] + parts["common"][0][0]))
    op, impl, precision = map(str, key)
    counts = {str(verdict): count for verdict, count in group["verdict"].value_counts().items()}
    return Family(op, impl, precision, len(group), n, math.exp(mean), math.exp(mean - reach), math.exp(mean + reach), counts)


def shift(pairs: pd.DataFrame) -> Interval | None:
    """The median ratio of all pairs that can be trusted, with its interval (order statistics): what the whole run moved by."""
    trusted = pairs.loc[pairs["doubt"] == "", "ratio"]
    return median_interval(trusted.to_numpy(), Z_LEVEL) if len(trusted) else None
