"""What scipy.stats gives, to the last bit, where the same functions of scipy.special are behind it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from kernels.guard import ROOT
from reports.distributions import cut_normal_variance, f_exceeded, false_discovery_q, robust_deviation, t_above, t_quantile

pytestmark = pytest.mark.slow  # for scipy.stats, which takes a second to import
FREEDOMS = [0.3, 1.0, 2.5, 4, 17, 1e6, np.inf, 0.0, -1.0, np.nan]


@pytest.mark.parametrize("freedom", FREEDOMS)
@pytest.mark.parametrize("value", [0.0, 0.7, -3.2, 41.0, np.inf, -np.inf, np.nan])
def test_tails_of_t(value: float, freedom: float) -> None:
    from scipy.stats import t

    assert np.array_equal(t_above([value], freedom), t.sf([value], freedom), equal_nan=True)


@pytest.mark.parametrize("freedom", FREEDOMS)
@pytest.mark.parametrize("probability", [0.5, 0.975, 0.995, 1e-9])
def test_quantiles_of_t(probability: float, freedom: float) -> None:
    from scipy.stats import t

    assert np.array_equal(t_quantile(probability, [freedom]), t.ppf(probability, [freedom]), equal_nan=True)


@pytest.mark.parametrize("below", [0.5, 3.0, 40.0, 1e5])
def test_what_f_exceeds(below: float) -> None:
    from scipy.stats import f

    above = np.array([1.0, 3.6, 12.0, 200.0])
    np.testing.assert_allclose(f_exceeded(0.01, above, below), f.isf(0.01, above, below), rtol=1e-12)


@pytest.mark.parametrize("apart", [1.5, 3.0, 5.0])
def test_the_variance_of_a_cut_normal(apart: float) -> None:
    from scipy.stats import truncnorm

    assert cut_normal_variance(apart) == pytest.approx(float(truncnorm.var(-apart, apart)), rel=1e-9)


@pytest.mark.filterwarnings("ignore:One or more sample arguments is too small")
@pytest.mark.parametrize("values", [[], [3.5], [1.0, 2.0, 4.0, 100.0], [1.0, np.nan, 2.0]])
def test_the_median_distance_from_the_median(values: list[float]) -> None:
    from scipy.stats import median_abs_deviation

    assert np.array_equal([robust_deviation(values)], [median_abs_deviation(values, scale="normal")], equal_nan=True)


@pytest.mark.parametrize("count", [0, 1, 2, 127])
def test_false_discoveries(count: int) -> None:
    from scipy.stats import false_discovery_control

    p = np.random.default_rng(5).uniform(0, 1, count) ** 3
    p[count // 2 :] = np.round(p[count // 2 :], 1)  # equal ones, zeros
    assert np.array_equal(false_discovery_q(p), false_discovery_control(p) if count else p)


def test_a_comparison_and_a_verdict_import_no_more_of_scipy() -> None:
    code = (
        "import sys, reports.compare.comparison, reports.nightly.nightly_command, reports.survey.fleet_history\n"
        "print([name for name in ('scipy.stats', 'scipy.optimize', 'scipy.signal', 'ruptures') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
