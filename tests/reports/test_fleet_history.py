"""Which GPU is becoming slower: a table of histories with known trends, healthy fleets, and both of its readers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reports.survey.fleet_history import LEAST_TIMES, NO_HISTORY, FleetHistory, becoming, of_nights, of_surveys, trend_words, trends
from reports.survey.survey_charts import over_surveys
from reports.survey.words import trend_lines

NOISE = 0.003
NO_LINES = pd.DataFrame({"survey": [], "gpu": [], "slower": [], "started_utc": pd.Series([], dtype="datetime64[us, UTC]")})


def history(times: int, gpus: int = 16, trend: float = 0.0, seed: int = 1, tails: int | None = None, missing: float = 0.0) -> FleetHistory:
    """GPU 0 becomes slower by `trend` from the first time to the last, a week apart each. tails: degrees of freedom of the noise."""
    random = np.random.default_rng(seed)
    noise = random.standard_t(tails, (gpus, times)) if tails else random.normal(0, 1, (gpus, times))
    logs = random.normal(0, 0.006, gpus)[:, None] + NOISE * noise
    logs[0] += np.log1p(trend) * np.arange(times) / max(times - 1, 1)
    logs[random.random(logs.shape) < missing] = np.nan
    return FleetHistory([f"GPU-{i}" for i in range(gpus)], [f"2026-01-{i + 1:02}" for i in range(times)], 7.0 * np.arange(times), logs)


@pytest.mark.parametrize(
    ("times", "trend", "found"),
    [(20, 0.05, True), (12, 0.03, True), (20, 0.0, False), (20, -0.05, False), (20, 0.004, False), (LEAST_TIMES - 1, 0.2, False)],
)
def test_a_gpu_that_becomes_slower_is_found(times: int, trend: float, found: bool) -> None:
    table = trends(history(times, trend=trend))
    assert list(becoming(table).index) == (["GPU-0"] if found else [])
    assert table.at["GPU-0", "change"] == pytest.approx(1 + trend, abs=0.01)
    assert table.at["GPU-0", "times"] == times


@pytest.mark.parametrize("tails", [None, 4])
@pytest.mark.parametrize("times", [8, 13, 40])
def test_of_healthy_fleets_hardly_a_gpu_is_called_so(times: int, tails: int | None) -> None:
    fleets = [history(times, gpus=257, seed=seed, tails=tails, missing=0.1) for seed in range(12)]
    assert sum(len(becoming(trends(fleet))) for fleet in fleets) <= 4  # at most one in each look; 0.05 of Gaussian ones


def test_one_bad_survey_is_no_trend() -> None:
    past = history(12)
    past.logs[3, -1] += 0.2
    assert becoming(trends(past)).empty


def test_what_reaches_the_whole_fleet_is_no_trend() -> None:
    times = np.log(1e-3) + np.random.default_rng(2).normal(0, NOISE, (31, 15, 5)) + 0.01 * np.arange(15)[None, :, None]
    assert becoming(trends(of_nights(times, [f"2026-02-{i + 1:02}" for i in range(15)], list("abcde")))).empty


def test_nights_and_surveys_find_the_same_gpu() -> None:
    random = np.random.default_rng(5)
    times = np.log(1e-3) + random.normal(0, NOISE, (31, 15, 5))
    times[:, :, 2] += 0.04 * np.arange(15) / 14
    times[::2, 3, 1] = np.nan
    nights = [f"2026-02-{i + 1:02}" for i in range(15)]
    over_nights = trends(of_nights(times, nights, list("abcde")))
    assert list(becoming(over_nights).index) == ["c"]
    slower = np.exp(of_nights(times, nights, list("abcde")).logs)
    lines = [
        {"survey": night, "started_utc": pd.Timestamp(night, tz="UTC"), "gpu": gpu, "slower": slower[i, n]}
        for n, night in enumerate(nights)
        for i, gpu in enumerate("abcde")
        if (n, gpu) != (7, "e")
    ]
    over_surveys_ = trends(of_surveys(pd.DataFrame(lines)))
    assert list(becoming(over_surveys_).index) == ["c"]
    assert over_surveys_["times"].to_dict() == {"a": 15, "b": 15, "c": 15, "d": 15, "e": 14}
    assert over_surveys_.at["c", "change"] == pytest.approx(over_nights.at["c", "change"])


def test_nights_of_a_time_each_are_in_the_order_of_time() -> None:
    past = of_nights(np.zeros((3, 2, 2)), ["2026-02-01 03:00:00", "2026-02-01 15:00:00"], ["a", "b"])
    assert past.days.tolist() == [0.0, 0.5]


@pytest.mark.parametrize(
    "past",
    [
        NO_HISTORY,
        history(1),
        history(9, gpus=1),
        FleetHistory(["a"], ["x", "y"], np.array([0.0, 0.0]), np.zeros((1, 2))),
        FleetHistory(["a", "b"], ["x", "y"], np.array([0.0, 1.0]), np.full((2, 2), np.nan)),
        of_surveys(NO_LINES),
    ],
)
def test_where_there_is_too_little_nothing_is_found(past: FleetHistory) -> None:
    table = trends(past)
    assert len(table) == len(past.gpus)
    assert becoming(table).empty


def test_a_trend_in_words() -> None:
    past = history(20, trend=0.05)
    table = trends(past)
    words = trend_words(table.loc["GPU-0"].to_dict(), "surveys")
    assert words.startswith("became ")
    assert words.endswith("% slower against the fleet over 20 surveys, 2026-01-01 to 2026-01-20")
    boards = pd.DataFrame({"gpu": ["GPU-0", "GPU-1"], "host": "node-1", "index": [0, 1]})
    assert trend_lines(table, boards) == [f"node-1 GPU\xa00 {words}"]
    assert trend_lines(table, boards.iloc[1:]) == []


@pytest.mark.parametrize(("gpus", "lines"), [(5, ["a", "1", "2", "3", "4"]), (40, ["90% of the GPUs", "50% of the GPUs", "a"])])
def test_few_gpus_have_a_line_each_and_many_a_band(gpus: int, lines: list[str]) -> None:
    past = history(12, gpus=gpus, trend=0.06)
    labels = {f"GPU-{i}": str(i) if i else "a" for i in range(gpus)}
    chart = over_surveys(past, trends(past), labels)
    assert [trace.name for trace in chart.views[0].figure.data if trace.showlegend is not False] == lines
    assert "1 become slower" in chart.alt
