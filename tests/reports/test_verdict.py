"""The verdict's statistics: against hand calculation, exact formulas, simulation, and what must hold for any history."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reports.verdict.robust import inflation, medians, prior, spread
from reports.verdict.rule import DEFAULT, Rule
from reports.verdict.scan import Scan, first_night, scan
from reports.verdict.shift import USUAL_NIGHTS, remove_shift
from studies.histories.simulate import World, simulate

NIGHTS, STEP_AT = 47, 29
LEAST = 0.015


def series(change: float = 0.0, seed: int = 3, noise: float = 0.01, count: int = 1) -> np.ndarray:
    """Log times of about 1 ms, [count, NIGHTS], which change by a fraction in night STEP_AT."""
    values = np.log(1e-3) + noise * np.random.default_rng(seed).standard_normal((count, NIGHTS))
    values[:, STEP_AT:] += np.log1p(change)
    return values


def judge(values: np.ndarray, rule: Rule = DEFAULT) -> Scan:
    return scan(values, np.full(len(values), LEAST), rule)


@pytest.mark.slow
@given(arrays(np.float64, (7, 5), elements=st.floats(-1e3, 1e3) | st.just(np.nan)))
def test_medians_are_numpys(values: np.ndarray) -> None:
    values[:, 0] = np.nan_to_num(values[:, 0])  # numpy warns of a row without numbers
    np.testing.assert_array_equal(medians(values), np.nanmedian(values, axis=1))


def test_the_median_of_nothing_is_nan() -> None:
    assert np.isnan(medians(np.full((1, 3), np.nan))).all()


@pytest.mark.parametrize(("weight", "low", "high"), [(4.0, 3.0, 5.5), (15.0, 10.0, 24.0), (np.inf, 49.9, 50.0)])
def test_the_prior_is_what_the_variances_were_drawn_from(weight: float, low: float, high: float) -> None:
    rng = np.random.default_rng(5)
    true = np.full(3001, 4e-4) if np.isinf(weight) else 4e-4 * weight / rng.chisquare(weight, 3001)
    freedom = np.full(3001, 19.0)
    found = prior(true * rng.chisquare(19, 3001) / 19, freedom, most=50)
    assert low <= found.freedom <= high
    assert found.variance == pytest.approx(4e-4, rel=0.08)


def test_few_series_have_no_prior() -> None:
    assert prior(np.full(9, 1e-4), np.full(9, 19.0), most=50).freedom == 0


@pytest.mark.parametrize("nights", [1, 3, 17])
@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.9])
def test_inflation_is_that_of_the_covariance_matrix(nights: int, correlation: float) -> None:
    lags = np.abs(np.subtract.outer(np.arange(nights), np.arange(nights)))
    exact = (correlation**lags).sum() / nights  # the variance of the mean, times nights
    assert float(inflation(np.array([nights]), correlation)[0]) == pytest.approx(exact)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.6])
def test_spread_finds_level_sigma_and_correlation(correlation: float) -> None:
    history = simulate(World(series=501, correlated=correlation, shift=0, drift=0, stepping=0), 11)
    base = history.times[:, :31] - np.nanmedian(history.times, axis=1, keepdims=True) + 7
    found = spread(base, np.ones_like(base, dtype=bool), DEFAULT.apart, DEFAULT.floor, DEFAULT.most_prior)
    assert np.median(found.level) == pytest.approx(7, abs=0.001)
    assert np.median(found.sigma) == pytest.approx(0.01, rel=0.1)
    assert found.correlation == pytest.approx(correlation, abs=0.08)


def test_a_series_without_noise_keeps_the_least_sigma() -> None:
    base = np.zeros((1, 13))
    assert spread(base, np.ones_like(base, dtype=bool), 3.0, 5e-4, 50).sigma == [5e-4]


@pytest.mark.parametrize(("at", "change", "outlier"), [(17, 0.05, None), (17, -0.05, None), (5, 0.03, None), (25, 0.05, 3), (25, 0.05, 27)])
def test_the_step_is_located(at: int, change: float, outlier: int | None) -> None:
    values = 0.01 * np.random.default_rng(at).standard_normal(31)
    values[at:] += change
    if outlier is not None:
        values[outlier] += 0.3
    assert abs(first_night(values, 0.0, change, 0.01) - at) <= 1


def test_shifts_are_found_and_removed() -> None:
    rng = np.random.default_rng(7)
    true = np.concatenate([[0.0], 0.01 * rng.standard_normal(30)])
    times = rng.uniform(-9, -3, (101, 1)) + true + 0.002 * rng.standard_normal((101, 31))
    found = remove_shift(times[:, :, None], DEFAULT)
    np.testing.assert_allclose(found.shift[1:, 0], true[1:], atol=0.002)
    np.testing.assert_allclose(found.values, times - true, atol=0.002)
    assert found.series[:, 0].tolist() == [0] + [101] * 30


def test_a_node_that_stays_slow_stays_shifted() -> None:
    times = np.zeros((13, 61, 1))
    times[:, 20:] = 0.05
    assert remove_shift(times, DEFAULT).shift[20:, 0] == pytest.approx(0.05)


def test_what_moved_is_told_from_what_is_usual_and_not_from_the_first_night() -> None:
    """A first night that was 2% slow, a GPU that is 3% slower than the other for good, and one night 5% off."""
    times = np.zeros((13, 12, 2))
    times[:, 0] = 0.02
    times[:, :, 1] += 0.03
    times[:, 11, 0] += 0.05
    found = remove_shift(times, DEFAULT)
    assert np.isnan(found.moved[:USUAL_NIGHTS]).all()
    assert found.moved[USUAL_NIGHTS + 1 : 11] == pytest.approx(np.zeros((5, 2)))
    assert found.moved[11].tolist() == pytest.approx([0.05, 0.0])


def test_a_gpu_that_stays_slow_is_unusual_until_that_is_usual() -> None:
    times = np.zeros((13, 40, 1))
    times[:, 20:] = 0.05
    moved = remove_shift(times, DEFAULT).moved[:, 0]
    assert moved[20:25] == pytest.approx(0.05)
    assert moved[26:] == pytest.approx(0.0)


def test_each_gpu_has_its_own_shift_and_the_series_their_median() -> None:
    times = np.zeros((13, 9, 3))
    times[:, 5] = [0.0, 0.02, 0.08]
    times[0, 5, 1] += 0.01  # one series on one GPU: not the node's
    found = remove_shift(times, DEFAULT)
    assert found.shift[5].tolist() == pytest.approx([0.0, 0.02, 0.08])
    assert found.values == pytest.approx(np.zeros((13, 9)))


def test_too_few_series_tell_no_shift() -> None:
    times = np.zeros((DEFAULT.shift_series - 1, 7, 1))
    times[:, 4] = 0.05
    found = remove_shift(times, DEFAULT)
    assert np.isnan(found.shift).all()
    np.testing.assert_array_equal(found.values, times[:, :, 0])


@pytest.mark.slow
@pytest.mark.parametrize("change", [0.05, -0.05, 0.2])
@pytest.mark.parametrize("count", [1, 37])
def test_a_step_is_confirmed_once_within_four_nights_and_located(change: float, count: int) -> None:
    values = series(count=count)
    values[0, STEP_AT:] += np.log1p(change)
    (found,) = [one for one in judge(values).confirmed if one.series == 0]
    assert STEP_AT + 2 <= found.night <= STEP_AT + 3
    assert abs(found.first - STEP_AT) <= 1
    assert found.difference == pytest.approx(np.log1p(change), abs=0.02)
    assert found.before_first == 0
    assert found.p <= DEFAULT.alpha


def test_a_step_that_is_mended_is_two_changes() -> None:
    values = series(0.06)
    values[:, STEP_AT + 6 :] -= np.log1p(0.06)
    first, second = judge(values).confirmed
    assert first.difference > 0 > second.difference
    assert second.before_first == first.first
    assert abs(second.first - STEP_AT - 6) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("nights", [[33], [33, 35], [33, 34], [30, 33, 36, 39, 42, 45]])
def test_outlier_nights_are_no_change(nights: list[int]) -> None:
    values = series()
    values[0, nights] += np.log(1.3)
    assert judge(values).confirmed == []


def test_what_does_not_matter_is_not_confirmed_however_certain() -> None:
    assert judge(series(0.012, noise=1e-4)).confirmed == []
    assert len(judge(series(0.02, noise=1e-4)).confirmed) == 1


@pytest.mark.slow
def test_nothing_is_judged_before_there_are_enough_nights() -> None:
    """Ten nights before and three to judge; of few series, which have no others to borrow from, some more."""
    judged = judge(series(count=30)).judged
    assert judged[:, 12:].all()
    assert not judged[:, :12].any()
    alone = judge(series(count=3)).judged
    assert not alone[:, :14].any()
    assert alone[:, 20:].all()


@pytest.mark.parametrize("values", [np.empty((0, 5)), np.empty((3, 0)), np.full((2, 20), np.nan), np.zeros((1, 1))])
def test_little_or_nothing_gives_no_verdict(values: np.ndarray) -> None:
    found = judge(values)
    assert found.confirmed == []
    assert not found.judged.any()


def test_missing_nights_are_passed_over() -> None:
    values = series(0.06)
    values[0, [3, 11, 12, STEP_AT, STEP_AT + 2]] = np.nan
    (found,) = judge(values).confirmed
    assert found.first == STEP_AT + 1  # the first night that has a time
    assert found.night <= STEP_AT + 5


def test_tonight_is_set_against_the_nights_before() -> None:
    values = series(noise=0.01)
    values[0, -1] = values[0, :-1].mean() + 0.08
    tonight = judge(values).tonight
    assert tonight.difference[0] == pytest.approx(0.08, abs=0.01)
    assert tonight.difference[0] / tonight.sigma[0] > DEFAULT.watch


@pytest.mark.slow
def test_many_series_need_more_evidence() -> None:
    history = simulate(World(series=301, noise=0.02, stepping=0), 4)
    many = judge(history.times, Rule(fdr_above=200)).confirmed
    few = judge(history.times, Rule(fdr_above=400)).confirmed
    assert len(many) < len(few)
    assert all(one.q <= DEFAULT.fdr for one in many)


@pytest.mark.slow
@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(20, 46))
def test_a_verdict_does_not_change_as_nights_are_added(seed: int, nights: int) -> None:
    history = simulate(World(series=23, nights=NIGHTS, step=0.06, stepping=0.3, earliest=15, after=3), seed)
    whole = [one for one in judge(history.times).confirmed if one.night < nights]
    assert judge(history.times[:, :nights]).confirmed == whole


@pytest.mark.slow
@settings(max_examples=15)
@given(st.integers(0, 10_000), st.floats(-5, 5))
def test_neither_order_nor_unit_matters(seed: int, unit: float) -> None:
    history = simulate(World(series=23, nights=NIGHTS, step=0.06, stepping=0.3, earliest=15, after=3), seed)
    order = np.random.default_rng(seed).permutation(23)
    said = {(one.series, one.night, one.first) for one in judge(history.times).confirmed}
    other = {(int(order[one.series]), one.night, one.first) for one in judge(history.times[order] + unit).confirmed}
    assert other == said
