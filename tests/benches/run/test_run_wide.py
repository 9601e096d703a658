"""What belongs to a run rather than to a point: its order, its sentinels, its processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benches.devices.simulated import SimulatedDevice
from benches.devices.virtual import Behaviour
from benches.run.order import shuffled
from benches.run.processes import T_99, combine
from benches.run.sentinels import NAME, Drift, Reading, Sentinels, drift, points, read_sentinels

IDS = [f"matmul-torch-bf16-{2**i}x64x64" for i in range(40)]


@pytest.mark.slow
@given(st.lists(st.text(), unique=True), st.integers(0, 2**64))
def test_shuffling_loses_nothing_and_does_not_depend_on_the_order_given(ids: list[str], seed: int) -> None:
    assert sorted(shuffled(ids, seed)) == sorted(ids)
    assert shuffled(ids[::-1], seed) == shuffled(ids, seed)


def test_a_seed_is_an_order_and_one_point_more_does_not_change_it() -> None:
    order = shuffled(IDS, 1)
    assert order != IDS
    assert order != shuffled(IDS, 2)
    assert [name for name in shuffled([*IDS, "new"], 1) if name != "new"] == order
    assert order[:2] == ["matmul-torch-bf16-8x64x64", "matmul-torch-bf16-2048x64x64"], "the same on every machine and Python"


@given(st.lists(st.floats(1e-6, 1e3), min_size=2, max_size=30))
def test_the_interval_of_processes_holds_their_median(medians: list[float]) -> None:
    interval = combine(medians)
    assert interval.low <= interval.median <= interval.high


def test_processes_by_hand() -> None:
    # Mean 10, standard deviation √2.5 = 1.5811; t(4) = 4.604: 10 ± 4.604 · 1.5811 / √5 = 10 ± 3.2555.
    interval = combine([8, 9, 10, 11, 12])
    assert (interval.low, interval.median, interval.high) == pytest.approx((6.7445, 10, 13.2555), abs=1e-3)


def test_one_process_says_nothing_about_others() -> None:
    with pytest.raises(ValueError, match="needs at least two"):
        combine([1.0])


def test_quantiles_of_t_against_scipy() -> None:
    from scipy.stats import t  # takes a second to import

    assert [t.ppf(0.995, df) for df in range(1, len(T_99) + 1)] == pytest.approx(T_99, abs=6e-4)


def test_coverage_over_processes() -> None:
    """Between processes 1%: the interval of five holds the truth in 99%."""
    rng = np.random.default_rng(5)
    intervals = [combine(list(rng.normal(1.0, 0.01, 5))) for _ in range(1000)]
    assert sum(i.low <= 1.0 <= i.high for i in intervals) >= 980


def test_sentinels_come_every_30_s_and_are_kept(tmp_path: Path) -> None:
    device = SimulatedDevice()
    sentinels = Sentinels(device, tmp_path, seed=1)
    assert [reading.name for reading in sentinels.tick()] == ["matmul bf16 4096³", "copy 1024 MiB"]
    assert sentinels.tick() == []
    device.rest(31)
    second = sentinels.tick()
    assert len(second) == 2
    kept = read_sentinels(tmp_path)
    assert len(kept) == 4
    assert kept[2:] == second
    assert kept[0].median_s == pytest.approx(device.predict_s(points("simulated")[kept[0].name]), rel=0.02)
    assert kept[0].sm_clock_hz == pytest.approx(1.83e9, rel=0.05)
    with (tmp_path / NAME).open("a", encoding="utf-8") as file:
        file.write('{"name": "torn')
    assert read_sentinels(tmp_path) == kept


def test_no_file_no_sentinels(tmp_path: Path) -> None:
    assert read_sentinels(tmp_path) == []


@pytest.mark.slow
def test_a_drifting_machine_is_found_and_a_steady_one_is_not(tmp_path: Path) -> None:
    found = {}
    for name, per_s in (("steady", 0.0), ("drifting", 1e-4)):
        device = SimulatedDevice(replace(Behaviour(), drift_per_s=per_s))
        sentinels = Sentinels(device, tmp_path / name, seed=1)
        (tmp_path / name).mkdir()
        for _ in range(20):
            sentinels.tick()
            device.rest(31)
        found[name] = drift(read_sentinels(tmp_path / name))
    assert found["steady"] == []
    assert [d.name for d in found["drifting"]] == ["matmul bf16 4096³", "copy 1024 MiB"]
    assert found["drifting"][0].change == pytest.approx(0.03, abs=0.01)  # 310 s between the halves


def test_too_few_readings_say_nothing_and_a_drift_reads_well() -> None:
    readings = [Reading("copy", float(i), "", 1.0 + i) for i in range(3)]
    assert drift(readings) == []
    assert str(Drift("copy", 0.031, 8)) == "copy took 3.1% longer in the second half of the run than in the first (8 readings)"
    assert str(Drift("copy", -0.022, 4)) == "copy took 2.2% less in the second half of the run than in the first (4 readings)"
