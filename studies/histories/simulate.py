"""Nights of many series, made from a seed, with what really changed in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ROUGHER = 10.0  # times the noise of the others


@dataclass(frozen=True)
class World:
    """What nights are like. Fractions are of the time."""

    series: int = 500
    nights: int = 60
    noise: float = 0.01  # from night to night, standard deviation
    unequal: float = 0.0  # of the series' noise: standard deviation of its logarithm
    rough: float = 0.0  # of the series: with ten times the noise of the others
    correlated: float = 0.0  # from night to night, AR(1)
    tails: float | None = None  # degrees of freedom of Student's t; None: normal
    shift: float = 0.004  # of the whole node in a night, standard deviation
    drift: float = 0.01  # of a series over all nights, at most, either way
    outliers: float = 0.02  # of the nights of a series
    outlier: tuple[float, float] = (0.05, 0.25)  # how much longer such a night takes
    missing: float = 0.02  # of the nights of a series
    step: float = 0.05  # slower or faster, with equal probability
    stepping: float = 0.1  # of the series
    earliest: int = 25  # night of a step
    after: int = 14  # nights from the last step to the end


@dataclass(frozen=True)
class History:
    """times: log seconds [series, nights], NaN where missing. step_at: the first night of a step, `nights` where there is none."""

    times: Array
    step_at: NDArray[np.int64]
    direction: NDArray[np.int64]


def simulate(world: World, seed: int) -> History:
    """The same for the same world and seed."""
    rng = np.random.default_rng(seed)
    shape = (world.series, world.nights)
    night = np.arange(world.nights)
    noise = _noise(world, rng) * world.noise * np.exp(world.unequal * rng.standard_normal((world.series, 1)))
    noise[: round(world.rough * world.series)] *= ROUGHER
    level = np.log(10 ** rng.uniform(-6, -2, (world.series, 1)))
    shift = world.shift * rng.standard_normal(world.nights)
    drift = world.drift * rng.uniform(-1, 1, (world.series, 1)) * night / world.nights
    outliers = (rng.random(shape) < world.outliers) * np.log1p(rng.uniform(*world.outlier, shape))
    step_at = np.full(world.series, world.nights)
    chosen = rng.choice(world.series, round(world.stepping * world.series), replace=False)
    step_at[chosen] = rng.integers(world.earliest, world.nights - world.after + 1, len(chosen))
    direction = rng.choice([-1, 1], world.series)
    step = np.where(night >= step_at[:, None], np.log1p(world.step) * direction[:, None], 0.0)
    times = level + noise + shift + drift + outliers + step
    times[rng.random(shape) < world.missing] = np.nan
    return History(times, step_at, direction)


def _noise(world: World, rng: np.random.Generator) -> Array:
    """Unit variance, [series, nights]."""
    shape = (world.series, world.nights)
    if world.tails is None:
        drawn = rng.standard_normal(shape)
    else:
        drawn = rng.standard_t(world.tails, shape) / np.sqrt(world.tails / (world.tails - 2))
    fresh = np.sqrt(1 - world.correlated**2)
    for night in range(1, world.nights):
        drawn[:, night] = world.correlated * drawn[:, night - 1] + fresh * drawn[:, night]
    return drawn
