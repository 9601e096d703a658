"""The distribution of healthy GPUs: against scipy's, against what values were drawn from, and with slow GPUs among them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from reports.survey.healthy import FLOOR, MARGIN, MOST_TAIL, Healthy, _unlikely, estimate, healthy

MANY = 10**9  # GPUs: what is left is the distribution itself


@pytest.mark.parametrize("value", [-3.0, -0.1, 0.0, 0.5, 4.0])
@pytest.mark.parametrize("freedom", [2.0, 4.0, 30.0])
def test_equal_scales_are_students_t(freedom: float, value: float) -> None:
    from scipy.stats import t

    found = Healthy(0.3, 0.02, 0.02, 1 / freedom, MANY)
    assert float(found.beyond(0.3 + 0.02 * value)) == pytest.approx(t.sf(value, freedom), rel=1e-6)


@pytest.mark.parametrize("probability", [1e-5, 0.01, 0.3, 0.5, 0.8, 0.95])
def test_a_value_above_which_a_share_lies_has_that_share_beyond_it(probability: float) -> None:
    found = Healthy(-0.1, 0.01, 0.03, 0.1, 17)
    assert float(found.beyond(found.above(probability))) == pytest.approx(probability, rel=1e-9)


def test_the_mass_of_each_side_is_as_its_scale() -> None:
    assert float(Healthy(0.0, 0.01, 0.03, 0.1, MANY).beyond(0.0)) == pytest.approx(0.75)


def test_few_gpus_leave_more_open() -> None:
    from scipy.stats import t

    limits = [Healthy(0.0, 0.01, 0.01, 0.01, n).above(1e-4) for n in (3, 8, 127, MANY)]
    assert limits == sorted(limits, reverse=True)
    assert limits[-1] == pytest.approx(0.01 * t.isf(1e-4, 100), rel=1e-6)


@pytest.mark.parametrize("at", [(0.1, 0.2, 0.3, -2.0), (-0.3, 0.1, -0.2, -4.0)])
def test_the_gradient_is_that_of_the_function(at: tuple[float, ...]) -> None:
    from scipy.optimize import approx_fprime

    z = np.random.default_rng(1).standard_t(4, 101)
    numeric = approx_fprime(np.array(at), lambda parameters: _unlikely(parameters, z)[0], 1e-7)
    np.testing.assert_allclose(_unlikely(np.array(at), z)[1], numeric, rtol=1e-4)


def test_scales_skew_and_tails_are_found_again() -> None:
    rng = np.random.default_rng(5)
    values = np.where(rng.random(3001) < 0.75, 0.03, -0.01) * np.abs(rng.standard_t(5, 3001))
    found = estimate(values)
    assert (found.fast, found.slow) == (pytest.approx(0.01, rel=0.15), pytest.approx(0.03, rel=0.15))
    assert found.tail == pytest.approx(0.2, abs=0.06)


@pytest.mark.parametrize(("share", "slower"), [(0.001, 0.05), (0.03, 0.03), (0.12, 0.05), (0.25, 0.05)])
def test_slow_gpus_do_not_widen_the_healthy(share: float, slower: float) -> None:
    """0.5% between healthy ones: 3% is six standard deviations."""
    values = np.random.default_rng(2).normal(0, 0.005, 1021)
    values[: max(1, round(share * len(values)))] += slower
    found = healthy(values, 5e-5)
    assert found.slow == pytest.approx(0.005, rel=0.15)
    assert found.above(5e-5) < 0.0245


def test_a_long_tail_is_of_the_healthy() -> None:
    from scipy.stats import norm

    values = 0.01 * np.random.default_rng(3).standard_t(3, 1021)
    assert np.count_nonzero(values > healthy(values, 5e-5).above(5e-5)) <= 1
    assert np.count_nonzero(values > 0.01 * norm.isf(5e-5)) > 5  # which a normal distribution would accuse


@pytest.mark.parametrize("values", [[0.0] * 5, [0.0, 0.0, 1.0], [0.0] * 500 + [0.5], [1e-9, 2e-9, 3e-9]])
def test_equal_values_have_the_least_scale(values: list[float]) -> None:
    found = healthy(np.array(values), 1e-4)
    assert min(found.fast, found.slow) >= FLOOR
    assert np.isfinite(found.above(1e-4))


def quantiles(n: int) -> np.ndarray:
    """A normal fleet without chance: 1% between healthy GPUs."""
    return 0.01 * ndtri((np.arange(n) + 0.5) / n)


@pytest.mark.parametrize(
    ("n", "fast", "reach"),
    [
        (1021, [], None),
        (1021, [-0.2], None),  # one may have another cause
        (1021, [-0.1, -0.2], 0.2),
        (1021, [-0.06] * 3, 0.06),
        (1021, [-0.1] * 25, None),  # a group apart
        (127, [-0.1, -0.1], 0.1),
        (97, [-0.1, -0.1], None),  # more than 2% of so few
    ],
)
def test_the_slow_side_reaches_as_far_as_fast_gpus_show(n: int, fast: list[float], reach: float | None) -> None:
    alpha = 7e-5
    plain = healthy(quantiles(n), alpha)
    found = healthy(np.concatenate([quantiles(n), fast]), alpha)
    if reach is None:
        assert found.above(alpha) == pytest.approx(plain.above(alpha), rel=0.03)
    else:
        assert found.above(alpha) == pytest.approx(MARGIN * reach, rel=0.03)
        assert float(found.beyond(found.above(alpha))) == pytest.approx(alpha, rel=1e-6)
        assert found.slow == pytest.approx(plain.slow, rel=0.03)


def test_a_skewed_fleets_slow_side_reaches_further_by_its_scale() -> None:
    """The slow side is three times as wide as the fast one, of which three GPUs are ten scales out."""
    half = ndtri(np.linspace(0.5, 0.9995, 511))
    values = np.concatenate([-0.005 * half[: 511 // 3], 0.015 * half, [-0.05, -0.05, -0.05]])
    found = healthy(np.sort(values), 7e-5)
    assert found.slow > 1.5 * found.fast
    assert found.above(7e-5) == pytest.approx(found.mode + MARGIN * (found.mode + 0.05) * found.slow / found.fast, rel=1e-6)


def test_a_tail_is_at_most_that_of_the_heaviest_t() -> None:
    """Two GPUs so far out that no limit reaches them."""
    found = healthy(np.concatenate([quantiles(1021), [-50.0, -60.0]]), 7e-5)
    assert np.isfinite(found.above(7e-5))
    assert found.tail == MOST_TAIL
