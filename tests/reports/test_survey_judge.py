"""Which GPU of a survey is slow: small cases by hand, each kind of slowness, and what makes a survey suspect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports.survey.families import ALL, LAUNCH, MEMORY, OTHER, TENSOR, family
from reports.survey.judge import FINE, SLOW, UNUSABLE, WATCH, Judged, judge, levels
from reports.survey.thresholds import load_thresholds

SHIPPED = load_thresholds()
POINTS = [*[(f"m{i}", MEMORY) for i in range(5)], *[(f"t{i}", TENSOR) for i in range(7)], *[(f"l{i}", LAUNCH) for i in range(3)]]
EVERY = {name for name, _ in POINTS}
IN = {kind: {name for name, family in POINTS if family == kind} for kind in (MEMORY, TENSOR, LAUNCH)}


def fleet(gpus: int, slower: Mapping[int, Mapping[str, float]] | None = None, spread: float = 0.001, seed: int = 1) -> pd.DataFrame:
    """Rows of GPUs named 0, 1, …, each with a factor of its own; slower: further factors, by GPU and point."""
    rng = np.random.default_rng(seed)
    own = np.exp(rng.normal(0, spread, gpus))
    factors = slower or {}
    lines = [
        {"gpu": str(gpu), "point": point, "family": name, "median_s": own[gpu] * factors.get(gpu, {}).get(point, 1)}
        for gpu in range(gpus)
        for point, name in POINTS
    ]
    frame = pd.DataFrame(lines).assign(model="H100", status="ok")
    return frame.assign(median_s=frame["median_s"] * 1e-4 * np.exp(rng.normal(0, spread / 3, len(frame))))


def by(points: set[str], ratio: float) -> dict[str, float]:
    return dict.fromkeys(points, ratio)


def states(judged: Judged) -> dict[str, list[str]]:
    return {str(state): list(some["gpu"]) for state, some in judged.gpus.groupby("state")}


@pytest.mark.parametrize(
    ("op", "precision", "bound", "expected"),
    [
        ("elementwise", "bf16", "memory", MEMORY),
        ("matmul", "bf16", "compute", TENSOR),
        ("matmul", "fp32", "compute", OTHER),
        ("elementwise", "bf16", "compute", OTHER),
        ("matmul", "bf16", "overhead", LAUNCH),
        ("matmul", "bf16", None, OTHER),
        ("of a newer version", "fp4", "memory", MEMORY),
    ],
)
def test_a_point_is_of_the_family_of_its_limit(op: str, precision: str, bound: str | None, expected: str) -> None:
    assert family(op, precision, bound) == expected


def test_a_level_by_hand() -> None:
    """A GPU whose points are 1%, 2% and 9% slower is 2% slower; one that timed a single point is as slow as that."""
    nan = np.nan
    found = levels(np.log([[1.01, 1.02, 1.09], [1, nan, 1], [nan, 1.05, nan], [nan, nan, nan]]))
    np.testing.assert_allclose(np.exp(found.value), [1.02, 1, 1.05, nan])
    assert found.points.tolist() == [3, 2, 1, 0]
    assert np.isnan(found.error[2:]).all()
    assert found.error[0] > found.error[1]


@pytest.mark.parametrize(
    ("gpus", "slower", "expected"),
    [
        (8, {}, {FINE: 8}),
        (8, {3: by(EVERY, 1.05)}, {SLOW: 1}),
        (8, {3: by(EVERY, 0.9)}, {SLOW: 0}),  # a fast one is not the others' fault
        (8, {3: by(EVERY, 1.2), 5: by(EVERY, 1.25)}, {SLOW: 2}),
        (127, {3: by(EVERY, 1.012)}, {WATCH: 1}),  # certain, and less than what matters
        (127, {i: by(EVERY, 1.05) for i in range(16)}, {SLOW: 16}),  # a rack
        (3, {0: by(EVERY, 1.01)}, {SLOW: 0}),
        (3, {}, {FINE: 3}),
    ],
)
def test_small_fleets(gpus: int, slower: Mapping[int, Mapping[str, float]], expected: Mapping[str, int]) -> None:
    judged = judge(fleet(gpus, slower), SHIPPED)
    counts = judged.gpus["state"].value_counts()
    assert {state: int(counts.get(state, 0)) for state in expected} == expected
    assert judged.exit_code == (1 if expected.get(SLOW) else 0)
    assert not judged.suspect


@pytest.mark.parametrize("kind", [MEMORY, TENSOR, LAUNCH])
def test_a_gpu_that_is_slow_in_one_family_is_named_so(kind: str) -> None:
    judged = judge(fleet(129, {7: by(IN[kind], 1.04)}), SHIPPED)
    (gpu,) = judged.accused.to_dict("records")
    assert (gpu["gpu"], gpu["families"]) == ("7", (kind,))
    assert gpu["worst"] == gpu[f"slower {kind}"] == pytest.approx(1.04, abs=0.006)
    assert all(gpu[f"slower {other}"] == pytest.approx(1, abs=0.006) for other in {MEMORY, TENSOR, LAUNCH} - {kind})


def test_one_that_is_slow_in_everything_is_slow_in_each_family() -> None:
    (gpu,) = judge(fleet(129, {7: by(EVERY, 1.04)}), SHIPPED).accused.to_dict("records")
    assert gpu["families"] == (MEMORY, TENSOR, LAUNCH)
    assert gpu["slower_low"] < gpu["slower"] < gpu["slower_high"]
    assert gpu["slower"] == pytest.approx(1.04, abs=0.006)


def test_the_printed_slowness_is_between_chance_and_certainty() -> None:
    spreads = judge(fleet(129), SHIPPED).spreads.set_index("family")
    assert list(spreads.index) == [ALL, MEMORY, TENSOR, LAUNCH]
    assert list(spreads["points"]) == [15, 5, 7, 3]
    assert (spreads["limit"] < spreads["detectable"]).all()
    assert (spreads["limit"] >= 1.015).all()  # the least that matters
    assert spreads.at[LAUNCH, "limit"] >= 1.02
    assert ((spreads["q05"] < 1) & (spreads["q95"] > 1) & (spreads["q95"] <= spreads["most"])).all()


def test_a_wide_spread_finds_only_more() -> None:
    found = [judge(fleet(129, spread=spread), SHIPPED).spreads["detectable"].iloc[0] for spread in (0.005, 0.02, 0.1)]
    assert found == sorted(found)
    assert found[-1] > 1.5


def test_points_by_hand() -> None:
    rows = fleet(4, spread=0.0)
    rows.loc[rows["gpu"].isin(["2"]) & (rows["point"] == "m0"), "median_s"] *= 1.5
    points = judge(rows, SHIPPED).points.set_index("point")
    assert points.loc["m0", ["gpus", "slowest", "family"]].tolist() == [4, "2", MEMORY]
    assert points.at["m0", "most"] == pytest.approx(1.5)
    assert points.at["m0", "median_s"] == pytest.approx(1e-4)
    assert len(points) == len(POINTS)


def changed(rows: pd.DataFrame, where: pd.Series, **values: Any) -> pd.DataFrame:
    rows = rows.copy()
    for name, value in values.items():
        rows.loc[where, name] = value
    return rows


def test_a_gpu_that_fails_what_the_others_time_is_accused() -> None:
    rows = fleet(8)
    judged = judge(changed(rows, (rows["gpu"] == "2") & rows["point"].isin(["m0", "t1"]), status="wrong", median_s=np.nan), SHIPPED)
    assert judged.exit_code == 1
    assert judged.accused[["gpu", "failed", "state"]].values.tolist() == [["2", 2, FINE]]


def test_a_point_that_all_fail_accuses_nobody() -> None:
    rows = fleet(8)
    judged = judge(changed(rows, rows["point"] == "m0", status="oom", median_s=np.nan), SHIPPED)
    assert (judged.exit_code, judged.gpus["failed"].sum(), len(judged.points)) == (0, 0, len(POINTS) - 1)


def test_a_gpu_with_few_points_is_not_judged() -> None:
    rows = fleet(8, {2: by(EVERY, 1.5)})
    judged = judge(rows[(rows["gpu"] != "2") | (rows["point"] == "m0")], SHIPPED)
    assert states(judged)[UNUSABLE] == ["2"]
    assert judged.suspect == ("1 of 8 GPUs could not be judged: 1 of 15 points were timed",)
    assert judged.exit_code == 3


def test_missing_and_noisy_rows_accuse_nobody() -> None:
    rng = np.random.default_rng(4)
    rows = fleet(67, spread=0.005)
    noisy = rng.random(len(rows)) < 0.1
    rows = changed(rows, pd.Series(noisy), status="noisy")
    rows.loc[noisy, "median_s"] *= np.exp(rng.normal(0, 0.05, noisy.sum()))
    judged = judge(rows[rng.random(len(rows)) > 0.15], SHIPPED)
    assert (judged.exit_code, judged.suspect) == (0, ())


@pytest.mark.parametrize("status", ["noisy", "throttled"])
def test_a_fleet_that_is_mostly_disturbed_is_suspect(status: str) -> None:
    rows = fleet(7)
    judged = judge(changed(rows, rows["gpu"].isin(list("01234")), status=status), SHIPPED)
    assert judged.suspect == (f"most points of 5 of 7 GPUs are {status}",)
    assert judged.exit_code == 3


def boards(gpus: int, **columns: Sequence[Any]) -> pd.DataFrame:
    usual = {"model": "H100", "driver": "575", "status": "finished", "reason": None}
    return pd.DataFrame({"gpu": [str(gpu) for gpu in range(gpus)], **usual, **columns})


def test_two_gpus_cannot_be_compared() -> None:
    judged = judge(fleet(2, {1: by(EVERY, 2.0)}), SHIPPED, boards(2))
    assert judged.exit_code == 3
    assert judged.suspect == ("which of 2 GPUs is slow cannot be judged: a verdict needs 3 of a kind (H100, driver 575)",)
    assert states(judged) == {UNUSABLE: ["0", "1"]}


def test_drivers_are_judged_apart() -> None:
    """The new driver makes all its GPUs 10% faster: among them one is 5% slower, and still faster than those of the old."""
    new = {g: by(EVERY, 0.9) for g in range(8)} | {3: by(EVERY, 0.945)}
    judged = judge(fleet(24, new), SHIPPED, boards(24, driver=["580"] * 8 + ["575"] * 16))
    assert states(judged)[SLOW] == ["3"]
    assert judged.suspect == ("driver differs among GPUs of one model: 575 (16 GPUs), 580 (8 GPUs); each is judged among its own",)
    assert judged.groups[["driver", "gpus", "points"]].values.tolist() == [["580", 8, 15], ["575", 16, 15]]


def test_models_are_judged_apart_and_not_suspect() -> None:
    models = ["H100"] * 8 + ["L4"] * 5
    rows = fleet(13, {g: by(EVERY, 3.0) for g in range(8, 13)})
    judged = judge(rows.assign(model=rows["gpu"].astype(int).map(dict(enumerate(models)))), SHIPPED, boards(13, model=models))
    assert (judged.exit_code, judged.suspect, len(judged.groups)) == (0, (), 2)


@pytest.mark.parametrize("driver", ["575", None])  # None: it was lost before its environment.json was written
def test_a_lost_gpu_is_named_with_its_reason(driver: str | None) -> None:
    rows = fleet(5)
    lost = boards(5, status=["finished"] * 4 + ["lost"], reason=[None] * 4 + ["fell off the bus"], driver=["575"] * 4 + [driver])
    judged = judge(rows[rows["gpu"] != "4"], SHIPPED, lost)
    assert judged.suspect == ("1 of 5 GPUs could not be judged: lost: fell off the bus",)
    assert judged.gpus.set_index("gpu").at["4", "reason"] == "lost: fell off the bus"
    assert judged.groups[["driver", "gpus"]].values.tolist() == [["575", 5]]


def test_an_unknown_driver_mixes_nothing() -> None:
    """A GPU that was lost after its rows were written, and of which no driver was recorded, is judged among the others."""
    judged = judge(fleet(5, {4: by(EVERY, 1.2)}), SHIPPED, boards(5, status=["finished"] * 4 + ["lost"], driver=["575"] * 4 + [None]))
    assert (judged.suspect, states(judged)[SLOW], len(judged.groups)) == ((), ["4"], 1)


def test_no_rows_are_no_verdict() -> None:
    judged = judge(fleet(4).iloc[:0], SHIPPED, boards(4))
    assert states(judged) == {UNUSABLE: ["0", "1", "2", "3"]}
    assert judged.exit_code == 3


def test_thresholds_decide() -> None:
    rows = fleet(127, {3: by(EVERY, 1.05)})
    assert judge(rows, replace(SHIPPED, slower=0.1, families={})).exit_code == 0
    assert judge(rows, replace(SHIPPED, slower=0.1, families={MEMORY: 0.01})).accused["families"].tolist() == [(MEMORY,)]


def test_shares_of_healthy_gpus() -> None:
    """0.3 of 1,024 GPUs and of 4,096; of 64, a sixteenth of 1,024, an eighth of that."""
    assert SHIPPED.accused_share(1024) == pytest.approx(0.3 / 1024)
    assert SHIPPED.accused_share(4096) == pytest.approx(0.3 / 4096)
    assert SHIPPED.accused_share(64) == pytest.approx(0.3 / 8 / 64)
    assert SHIPPED.watched_share(64) == pytest.approx(2 / 8 / 64)
