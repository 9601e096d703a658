"""The statistics of a comparison on synthetic runs whose noise is known: false calls, coverage, planted changes."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benches.timing.interval import Z
from reports.compare.families import families
from reports.compare.noise import CPU, GPU, Assumed, freedom, replicated, size_class, spreads, within
from reports.compare.pair_verdicts import judge, shift

IMPLS = ("torch", "triton", "torch_compile")


def synthetic(
    rng: np.random.Generator,
    n: int,
    between: float,
    inside: float = 0.001,
    common: float = 0.0,
    planted: dict[int, float] | None = None,
    tails: bool = False,
) -> pd.DataFrame:
    """n pairs as pairing.measured makes them. between, common: standard deviations of a median from run to run, of a run; `inside` is
    the standard error within a run. planted: true ratios by place."""
    true = np.zeros(n)
    for place, ratio in (planted or {}).items():
        true[place] = math.log(ratio)
    draw = rng.standard_t(5, n) * math.sqrt(3 / 5) if tails else rng.normal(size=n)
    noise = draw * math.sqrt(2 * (between**2 + inside**2)) + rng.normal() * math.sqrt(2) * common
    return pd.DataFrame(
        {
            **{
                "op": np.where(np.arange(n) % 2, "matmul", "elementwise"),
                "impl": np.array(IMPLS)[np.arange(n) // 2 % 3],
                "precision": "bf16",
            },
            **{"size": "10 µs to 1 ms", "log_ratio": true + noise, "true": true, "single": True, "doubt": "", "apart": False, "seen": True},
            **{"within_a": inside**2, "within_b": inside**2, "within_var": 2 * inside**2},
            **{"repeated_var": np.nan, "repeated_df": 0.0, "common": 2, "runs_a": 1, "runs_b": 1},
        }
    )


def judged(pairs: pd.DataFrame, assumed: Assumed) -> pd.DataFrame:
    return judge(pairs, spreads(pairs, assumed), assumed)


@pytest.mark.slow
@pytest.mark.parametrize(("tails", "at_most"), [(False, 0.02), (True, 0.06)], ids=["normal", "heavy tails"])
@pytest.mark.parametrize(("between", "assumed"), [(0.002, GPU), (0.03, GPU), (0.05, CPU)])
def test_the_same_code_is_rarely_called_anything(between: float, assumed: Assumed, tails: bool, at_most: float) -> None:
    """The share of comparisons of 60 pairs that hold a false call; also where runs differ by far more or less than assumed. Tails are
    those of Student's t with 5 degrees of freedom."""
    rng = np.random.default_rng(7)
    runs = [judged(synthetic(rng, 60, between, common=assumed.common, tails=tails), assumed) for _ in range(80)]
    assert np.mean([run["verdict"].isin(["slower", "faster"]).any() for run in runs]) <= at_most


@pytest.mark.slow
@pytest.mark.parametrize(("n", "between", "assumed"), [(60, 0.05, CPU), (12, 0.01, GPU), (500, 0.03, GPU)])
def test_intervals_hold_the_true_ratio(n: int, between: float, assumed: Assumed) -> None:
    rng = np.random.default_rng(11)
    planted = dict.fromkeys(range(0, n, 10), 1.3)
    found = pd.concat([judged(synthetic(rng, n, between, common=assumed.common, planted=planted), assumed) for _ in range(40)])
    truth = np.exp(found["true"])
    assert ((found["low"] <= truth) & (truth <= found["high"])).mean() >= 0.95


@pytest.mark.slow
def test_means_of_families_hold_the_true_mean() -> None:
    rng, held = np.random.default_rng(13), []
    for _ in range(60):
        pairs = judged(synthetic(rng, 60, 0.01, common=GPU.common, planted={0: 1.5, 6: 0.8}), GPU)
        truth = pairs.groupby(["op", "impl", "precision"])["true"].mean()
        found = families(pairs, GPU)
        held += [family.low <= math.exp(truth[(family.op, family.impl, family.precision)]) <= family.high for family in found[:-1]]
        assert (found[-1].op, found[-1].verdict) == ("all", "")
        assert found[-1].ratio == pytest.approx(math.exp(pairs["log_ratio"].mean()))
    assert np.mean(held) >= 0.93  # 60 draws of what moves a whole run: 95% ± 3%


@pytest.mark.parametrize(
    ("ratio", "verdict", "between", "assumed"),
    [(1.3, "slower", 0.01, GPU), (1 / 1.3, "faster", 0.01, GPU), (2.2, "slower", 0.02, CPU), (1 / 2.2, "faster", 0.02, CPU)],
)
def test_planted_changes_are_found_and_no_others(ratio: float, verdict: str, between: float, assumed: Assumed) -> None:
    """One implementation's ten points of sixty, as studies/aa plants them."""
    rng, places = np.random.default_rng(17), [i for i in range(60) if i % 2 == 0 and i // 2 % 3 == 1]
    calls = [judged(synthetic(rng, 60, between, common=assumed.common, planted=dict.fromkeys(places, ratio)), assumed) for _ in range(15)]
    assert len(places) == 10
    assert np.mean([(run["verdict"].iloc[places] == verdict).mean() for run in calls]) >= 0.95
    others = [run.drop(index=places)["verdict"].isin(["slower", "faster"]).sum() for run in calls]
    assert np.sum(others) <= 0.02 * 15 * 50


def test_on_a_cpu_one_run_a_side_says_that_it_cannot_tell() -> None:
    pairs = judged(synthetic(np.random.default_rng(3), 60, 0.01, planted={0: 1.5}), CPU)
    assert pairs.iloc[0][["verdict", "why"]].tolist() == [
        "unclear",
        "one run of each, which calls no change below 2× here: make several runs of each and use --vs",
    ]
    assert pairs.iloc[0]["q"] < 0.01
    slow = judged(synthetic(np.random.default_rng(3), 60, 0.01, planted=dict.fromkeys(range(60), 1.5)), CPU)
    assert {family.verdict for family in families(slow, CPU)} == {"unclear", ""}


def test_a_change_that_no_pair_shows_shows_in_the_mean() -> None:
    pairs = judged(synthetic(np.random.default_rng(41), 600, 0.02, planted=dict.fromkeys(range(2, 600, 6), 1.05)), GPU)
    slow = pairs["true"] > 0
    assert pairs.loc[slow, "verdict"].eq("slower").mean() < 0.5
    verdicts = {(family.op, family.impl): family.verdict for family in families(pairs, GPU)}
    assert {key for key, verdict in verdicts.items() if verdict not in ("same", "")} == {("elementwise", "triton")}
    assert verdicts["elementwise", "triton"] == "slower"


def test_an_implementation_that_changed_as_a_whole_is_not_taken_for_noise() -> None:
    pairs = synthetic(np.random.default_rng(19), 240, 0.01, planted={i: 2.0 for i in range(240) if i // 2 % 3 == 1})
    for spread in spreads(pairs, GPU).values():
        assert spread.used == pytest.approx(math.sqrt(2) * 0.01, rel=0.25)
    assert judged(pairs, GPU).loc[pairs["true"] > 0, "verdict"].eq("slower").all()


def test_a_shift_of_the_whole_run_counts_in_every_ratio() -> None:
    pairs = judged(synthetic(np.random.default_rng(23), 60, 0.005, planted=dict.fromkeys(range(60), 1.2)), GPU)
    assert pairs["verdict"].eq("slower").all()
    moved = shift(pairs)
    assert moved
    assert moved.low <= 1.2 <= moved.high
    assert moved.half_width < 0.01


def test_few_pairs_lean_on_what_is_assumed_and_many_on_themselves() -> None:
    def used(n: int, between: float) -> float:
        pairs = synthetic(np.random.default_rng(29), n, between).assign(op="matmul")
        return next(iter(spreads(pairs, GPU).values())).used

    assert used(1, 0.0001) == pytest.approx(math.sqrt(2) * GPU.between)
    assert used(2000, 0.0001) < 0.2 * GPU.between
    assert used(2000, 0.1) == pytest.approx(math.sqrt(2) * 0.1, rel=0.1)


@pytest.mark.parametrize(
    ("samples", "reach"),
    # of n samples the extremes are an interval of the median at 1 − 2^(1−n); standard normal quantiles of 1 − 2^−n from a table
    [(2, 0.6745), (8, 2.6601), (30, Z), (1000, Z)],
)
def test_a_standard_error_is_the_interval_over_its_reach(samples: int, reach: float) -> None:
    assert within(1e-3 / 1.1, 1e-3 * 1.1, samples) == pytest.approx(math.log(1.1) / reach, rel=1e-4)


def test_replicates_bring_their_own_spread() -> None:
    """Few pairs borrow nothing: the textbook's two-sample t (scipy), of logarithms."""
    from scipy.stats import ttest_ind  # a second and more, which only this file needs

    a, b = [1.0, 1.1, 0.95], [1.3, 1.25, 1.4, 1.2]
    variance, df = replicated([a, [1.0]], [b, [1.1]])
    expected = ttest_ind(np.log(b), np.log(a))
    assert (np.log(b).mean() - np.log(a).mean()) / math.sqrt(variance[0]) == pytest.approx(expected.statistic, rel=1e-12)
    assert df.tolist() == [expected.df, 0]
    assert math.isnan(variance[1]), "one median of each tells no spread"


@pytest.mark.slow
@pytest.mark.parametrize("runs", [2, 3, 5])
@pytest.mark.parametrize("alike", [True, False], ids=["alike", "some far noisier"])
def test_several_runs_call_no_change_falsely_and_find_what_they_can(runs: int, alike: bool) -> None:
    """Pairs whose spread between runs nobody assumed: 1% each, or 1% to 30%. Whole runs move by 2%, a sixth of pairs by 1.3×."""
    rng, false, calls, found = np.random.default_rng(43), 0, 0, []
    spread, slow = np.full(60, 0.01) if alike else np.geomspace(0.01, 0.3, 60), np.arange(60) % 6 == 0
    for _ in range(100):
        medians = [np.exp(spread[:, None] * rng.normal(size=(60, runs)) + 0.02 * rng.normal(size=runs)) for _ in "ab"]
        medians[1][slow] *= 1.3
        called = judged(of_runs(*medians), CPU)["verdict"].isin(["slower", "faster"]).to_numpy()
        false, calls = false + int(called[~slow].sum()), calls + int(called.sum())
        found.append(called[slow & (spread < 0.02)].mean())
    assert false <= 0.01 * calls + 1
    assert np.mean(found) >= {2: 0.0, 3: 0.7, 5: 0.99}[runs], "two runs a side tell next to nothing"


def of_runs(a: np.ndarray, b: np.ndarray) -> pd.DataFrame:
    """Pairs [point, run], as pairing.measured makes them."""
    pairs = synthetic(np.random.default_rng(1), len(a), 0.01).assign(single=False, common=0, within_a=0.0, within_b=0.0, within_var=0.0)
    pairs["log_ratio"] = np.log(b).mean(axis=1) - np.log(a).mean(axis=1)
    pairs["medians_a"], pairs["medians_b"] = list(a), list(b)
    pairs["repeated_var"], pairs["repeated_df"] = replicated(list(a), list(b))
    return pairs.assign(runs_a=a.shape[1], runs_b=b.shape[1])


@pytest.mark.parametrize(("low", "high", "samples"), [(1.0, 1.0, 1), (math.nan, math.nan, 30), (2.0, 1.0, 30)])
def test_no_interval_is_no_error(low: float, high: float, samples: int) -> None:
    assert math.isnan(within(low, high, samples))


@given(st.floats(1e-6, 1), st.floats(1e-6, 1), st.integers(1, 30))
def test_freedom_lies_between_the_least_and_the_sum(a: float, b: float, df: int) -> None:
    """Welch and Satterthwaite: at least the smallest part's, at most all together; a part without a limit sets none."""
    one = freedom({"a": (np.array([a]), np.array([float(df)])), "b": (np.array([b]), np.array([float(df + 5)]))})[0]
    assert df - 1e-9 <= one <= 2 * df + 5 + 1e-9
    assert freedom({"a": (np.array([a]), np.array([float(df)])), "b": (np.array([b]), np.array([np.inf]))})[0] >= df - 1e-9


@pytest.mark.parametrize(
    ("seconds", "name"), [(9.9e-6, "under 10 µs"), (1e-5, "10 µs to 1 ms"), (0.02, "1 ms to 0.1 s"), (3.0, "over 0.1 s")]
)
def test_sizes(seconds: float, name: str) -> None:
    assert size_class(seconds) == name
