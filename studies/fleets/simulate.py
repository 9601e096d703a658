"""A fleet's times, made from a seed, and GPUs that are made slow in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.survey.families import LAUNCH, MEMORY, TENSOR
from reports.verdict.robust import Array

EVERYTHING = "everything"  # a kind of slowness, beside those of one family
HOST = 8  # GPUs
NOISIER = 10.0  # times the noise of the other rows


@dataclass(frozen=True)
class World:
    """What healthy fleets are like. Fractions are of the time; a spread is a standard deviation of GPUs."""

    gpus: int = 1024
    points: Mapping[str, int] = field(default_factory=lambda: {MEMORY: 15, TENSOR: 30, LAUNCH: 5})
    spread: float = 0.02  # of a GPU, over all its points
    own: Mapping[str, float] = field(default_factory=dict)  # of a family: its spread in place of `spread`, drawn apart from the others
    noise: float = 0.003  # of a point on a GPU
    tails: float | None = None  # degrees of freedom of a Student's t; None: normal
    skew: float = 0.0  # standard deviation of the logarithm of a lognormal; 0: none
    of_hosts: float = 0.0  # share of the variance that the GPUs of a host have in common
    wide: float = 0.0  # share of GPUs that spread more than the others
    wider: float = 3.0  # by this factor
    wide_hosts: bool = False  # whether it is all GPUs of a host that do
    noisy: float = 0.01  # share of rows
    missing: float = 0.01  # share of rows


@dataclass(frozen=True)
class Fleet:
    """log_s: [GPUs, points], NaN where missing. family: of each point."""

    log_s: Array
    family: NDArray[np.object_]

    def rows(self) -> pd.DataFrame:
        """What reports.survey.judge reads."""
        gpus, points = self.log_s.shape
        names = pd.Categorical.from_codes(np.repeat(np.arange(gpus), points), pd.Index([f"GPU-{i:08x}" for i in range(gpus)]))
        every = pd.DataFrame(
            {
                "gpu": names,
                "model": pd.Categorical.from_codes(np.zeros(gpus * points, int), pd.Index(["simulated"])),
                "point": pd.Categorical.from_codes(np.tile(np.arange(points), gpus), pd.Index([f"point-{i}" for i in range(points)])),
                "family": np.tile(self.family, gpus),
                "status": "ok",
                "median_s": np.exp(self.log_s).ravel(),
            }
        )
        return every[every["median_s"].notna()]

    def slowed(self, slowness: Mapping[int, tuple[str, float]]) -> Fleet:
        """The fleet with some of its GPUs slower: a kind, which is a family or EVERYTHING, and by how much."""
        log_s = self.log_s.copy()
        for gpu, (kind, by) in slowness.items():
            log_s[gpu, (self.family == kind) | (kind == EVERYTHING)] += np.log1p(by)
        return Fleet(log_s, self.family)


def simulate(world: World, seed: int) -> Fleet:
    """The same for the same world and seed."""
    rng = np.random.default_rng(seed)
    family = np.array([name for name, count in world.points.items() for _ in range(count)], dtype=object)
    shape = (world.gpus, len(family))
    away = np.repeat(world.spread * _drawn(world, rng)[:, None], len(family), axis=1)
    for name, spread in world.own.items():
        away[:, family == name] = spread * _drawn(world, rng)[:, None]
    level = np.log(10 ** rng.uniform(-6, -2, len(family)))
    noise = world.noise * rng.standard_normal(shape) * np.where(rng.random(shape) < world.noisy, NOISIER, 1.0)
    log_s = level + away + noise
    log_s[rng.random(shape) < world.missing] = np.nan
    return Fleet(log_s, family)


def _drawn(world: World, rng: np.random.Generator) -> Array:
    """Unit variance, a number a GPU; with `wide`, unit variance of the others."""
    hosts = -(-world.gpus // HOST)
    common = np.repeat(_numbers(world, rng, hosts), HOST)[: world.gpus]
    drawn = np.sqrt(world.of_hosts) * common + np.sqrt(1 - world.of_hosts) * _numbers(world, rng, world.gpus)
    wide = np.repeat(rng.random(hosts), HOST)[: world.gpus] if world.wide_hosts else rng.random(world.gpus)
    return drawn * np.where(wide < world.wide, world.wider, 1.0)


def _numbers(world: World, rng: np.random.Generator, count: int) -> Array:
    if world.skew:
        variance = np.expm1(world.skew**2) * np.exp(world.skew**2)
        return (rng.lognormal(0.0, world.skew, count) - np.exp(world.skew**2 / 2)) / np.sqrt(variance)
    if world.tails:
        return rng.standard_t(world.tails, count) / np.sqrt(world.tails / (world.tails - 2))
    return rng.standard_normal(count)
