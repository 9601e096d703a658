"""How good predictions are: errors by family, precision and regime."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

REGIMES = (("m ≤ 64", 64), ("65–1024", 1024), ("m > 1024", np.inf))  # rows of a contraction's result
WITHIN = 1.5  # a factor


@dataclass(frozen=True)
class Quality:
    """Errors of some predictions."""

    name: str
    regime: str
    rows: int
    mape: float  # mean absolute error, a fraction of the measured time
    ratio: float  # geometric mean of predicted / measured
    within: float  # share of rows within a factor of WITHIN
    worst: float  # predicted / measured of the row furthest off
    held_out: bool  # by fits that had not seen the rows


def quality(name: str, regime: str, predicted: Array, measured: Array, held_out: bool) -> Quality:
    """Of (N,) seconds each, N at least 1."""
    logs = np.log(predicted / measured)
    return Quality(
        name,
        regime,
        len(measured),
        float(np.mean(np.abs(predicted / measured - 1))),
        float(np.exp(np.mean(logs))),
        float(np.mean(np.abs(logs) <= np.log(WITHIN))),
        float(np.exp(logs[np.argmax(np.abs(logs))])),
        held_out,
    )


def by_regime(name: str, m: Sequence[float] | Array, predicted: Array, measured: Array, held_out: bool) -> list[Quality]:
    """All rows, then each regime that has some."""
    found = [quality(name, "all", predicted, measured, held_out)]
    low = 0.0
    for regime, high in REGIMES:
        here = (np.asarray(m) > low) & (np.asarray(m) <= high)
        if here.any():
            found.append(quality(name, regime, predicted[here], measured[here], held_out))
        low = high
    return found


def by_name(names: Iterable[str], predicted: Array, measured: Array, held_out: bool) -> list[Quality]:
    """Of each name, in order of first appearance."""
    labels = np.array(list(names), object)
    return [quality(name, "all", predicted[labels == name], measured[labels == name], held_out) for name in dict.fromkeys(labels.tolist())]
