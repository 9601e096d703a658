"""The interval of the median: exact ranks where they are known, coverage by simulation where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benches.timing.interval import median_interval


@pytest.mark.parametrize(
    ("n", "low", "high"),
    # Ranks from the binomial table: P(B(n, ½) < low) ≤ 0.5%.
    [(1, 0, 0), (5, 0, 4), (8, 0, 7), (30, 7, 22), (100, 37, 62)],
)
def test_ranks_of_independent_samples(n: int, low: int, high: int) -> None:
    low_half, high_half = range(n // 2), range(n // 2, n)
    mixed = [x for pair in zip(low_half, high_half, strict=False) for x in pair] + ([n - 1] if n % 2 else [])
    interval = median_interval([float(x) for x in mixed], z=2.576)  # alternates about the median: no positive autocorrelation
    half_step = 0.5  # the samples are whole numbers
    assert (interval.low, interval.high) == (max(0, low - half_step), min(n - 1, high + half_step))


def ar1(rng: np.random.Generator, n: int, rho: float) -> np.ndarray:
    x = np.empty(n)
    x[0] = rng.normal()
    for i in range(1, n):
        x[i] = rho * x[i - 1] + (1 - rho**2) ** 0.5 * rng.normal()
    return x


@pytest.mark.slow
@pytest.mark.parametrize(("rho", "at_least"), [(0.0, 0.97), (0.5, 0.97), (0.9, 0.90)])
def test_coverage_of_the_true_median(rho: float, at_least: float) -> None:
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(400):
        interval = median_interval(10 + ar1(rng, 240, rho), z=2.576)
        covered += interval.low <= 10 <= interval.high
    assert covered / 400 >= at_least


@given(st.lists(st.floats(1e-7, 1e3), min_size=1, max_size=60))
def test_the_interval_holds_the_median_and_lies_within_the_samples(samples: list[float]) -> None:
    interval = median_interval(samples)
    assert min(samples) <= interval.low <= interval.median <= interval.high <= max(samples)
    assert interval.half_width >= 0


def test_equal_samples_have_no_width() -> None:
    assert median_interval([2.0] * 30).half_width == 0.0


def test_no_samples_is_an_error() -> None:
    with pytest.raises(ValueError, match="no samples"):
        median_interval([])


def test_a_coarse_timer_widens_the_interval() -> None:
    """Steps of 32 ns around 4 us: nine in ten samples share a value, and the truth lies anywhere within half a step of it."""
    interval = median_interval([4.000e-6] * 90 + [4.032e-6] * 5 + [3.968e-6] * 5)
    assert (interval.low, interval.high) == pytest.approx((3.984e-6, 4.016e-6))
