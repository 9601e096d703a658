"""What differs at a GPU from its neighbours: a table of cases, and conditions from a survey's rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports.survey.neighbours import MEASURED, conditions, differing
from reports.survey.survey_run import read_run
from tests.reports.surveys import Planted, make_survey, uuid_of

JITTER = np.array([0.1, -0.7, 0.4, 1.1, -0.2, 0.8, -1.3, 0.3, -0.5, 0.6, 0.0])


def table(column: str, own: Any, others: Any, step: float = 0.0, gpus: int = 11, more: int = 0) -> pd.DataFrame:
    """GPU 0 has `own` and so have `more` others; the rest have `others`, moved by steps where these are numbers."""
    rest = [others + step * jitter for jitter in JITTER[: gpus - 1]] if step else [others] * (gpus - 1)
    values = [own] * (1 + more) + rest[more:]
    hosts = [f"node-{i // 2}" for i in range(gpus)]
    return pd.DataFrame({"model": "H100", "host": hosts, column: values}, index=[f"GPU-{i}" for i in range(gpus)])


CASES: list[tuple[str, Any, Any, float, str | None]] = [
    ("sm_clock_hz", 1.41e9, 1.755e9, 4e6, "SM clock 1,410 MHz under load; the others 1,756 MHz"),
    ("sm_clock_hz", 1.75e9, 1.755e9, 4e6, None),
    ("sm_clock_hz", 1.749e9, 1.755e9, 1.0, None),  # far in standard deviations, but by 0.3% only
    ("sm_clock_hz", 1.60e9, 1.755e9, 90e6, None),  # a fleet that spreads by 5%
    ("memory_clock_hz", 1.593e9, 2.619e9, 0.0, "memory clock 1,593 MHz under load; the others 2,619 MHz"),
    ("power_limit_w", 400.0, 700.0, 0.0, "power limited to 400 W; the others 700 W"),
    ("pcie_width", 8, 16, 0.0, "PCIe x8 instead of x16"),
    ("pcie_width", 16, 16, 0.0, None),
    ("pcie_generation", 3, 5, 0.0, "PCIe generation 3 instead of 5"),
    ("nvlinks", 17, 18, 0.0, "17 NVLinks active instead of 18"),
    ("ecc_corrected_grown", 7, 0, 0.0, "7 corrected memory errors during the survey; the others 0"),
    ("ecc_corrected_grown", 1, 0, 0.0, None),
    ("ecc_corrected", 0, 40, 0.0, None),  # fewer errors are no fault
    ("remapped_rows_uncorrected", 2, 0, 0.0, "2 memory rows remapped after uncorrected errors; the others 0"),
    ("nvlink_crc_errors_grown", 1200, 4, 1.0, "1,200 NVLink CRC errors during the survey; the others 4"),
    ("temperature_c", 79.0, 61.0, 1.5, "79 °C under load; the others 61 °C"),
    ("temperature_c", 64.0, 61.0, 0.1, None),
    ("power_w", 480.0, 610.0, 8.0, "480 W under load; the others 612 W"),
    ("beside", 1.04, 1.002, 0.0005, "time of its sentinels +4.0% while the other GPUs work; the others +0.2%"),
    ("beside", 1.04, 1.038, 0.0005, None),
    ("heat_slowed", 0.34, 0.0, 0.0, "slowed by heat or hardware in 34% of its points; the others in 0%"),
    ("slowed_s thermal (hardware)", 214.0, 0.0, 0.0, "slowed for 214 s by thermal (hardware); the others 0 s"),
    ("slowed_s power cap", 10.0, 300.0, 1.0, None),
    ("ecc", False, True, 0.0, "ECC is off; the others have it on"),
    ("remapping_pending", True, False, 0.0, "a memory row waits for a reset to be remapped"),
    ("driver", "570.86", "575.57", 0.0, "driver 570.86 instead of 575.57"),
    ("driver", None, "575.57", 0.0, None),
    ("vbios", "96.00.89", None, 0.0, None),
    ("sm_clock_hz", np.nan, 1.755e9, 4e6, None),
    ("sm_clock_hz", 1.41e9, np.nan, 0.0, None),
]


@pytest.mark.parametrize(("column", "own", "others", "step", "text"), CASES)
def test_what_differs_at_a_gpu(column: str, own: Any, others: Any, step: float, text: str | None) -> None:
    found = differing(table(column, own, others, step), "GPU-0")
    assert [str(one) for one in found] == ([] if text is None else [text])


@pytest.mark.parametrize(
    ("column", "own", "others", "more", "text"),
    [
        ("pcie_width", 8, 16, 1, "PCIe x8 instead of x16, as all GPUs of this host"),
        ("driver", "570.86", "575.57", 1, "driver 570.86 instead of 575.57, as all GPUs of this host"),
        ("driver", "570.86", "575.57", 4, None),  # of 11, five are no minority
    ],
)
def test_what_all_gpus_of_a_host_share_is_said_so(column: str, own: Any, others: Any, more: int, text: str | None) -> None:
    assert [str(one) for one in differing(table(column, own, others, more=more), "GPU-0")] == ([] if text is None else [text])


def test_the_clock_comes_before_errors_and_these_before_versions() -> None:
    one = table("driver", "570.86", "575.57")
    for column, own, others in [
        ("ecc_corrected_grown", 9, 0),
        ("temperature_c", 80.0, 60.0),
        ("pcie_width", 8, 16),
        ("sm_clock_hz", 1e9, 2e9),
    ]:
        one[column] = table(column, own, others)[column]
    one["ecc_corrected"] = table("ecc_corrected", 12, 0)["ecc_corrected"]  # which the errors during the survey stand for
    assert [found.fact for found in differing(one, "GPU-0")] == [
        "sm_clock_hz",
        "pcie_width",
        "ecc_corrected_grown",
        "temperature_c",
        "driver",
    ]


@pytest.mark.parametrize("gpus", [1, 2])
def test_of_two_gpus_neither_is_the_one_that_differs(gpus: int) -> None:
    assert differing(table("pcie_width", 8, 16, gpus=gpus), "GPU-0") == []


def test_a_gpu_is_compared_with_its_own_model() -> None:
    both = pd.concat([table("sm_clock_hz", 1.2e9, 1.2e9, gpus=4), table("sm_clock_hz", 1.755e9, 1.755e9, gpus=9).add_prefix("X-", axis=0)])
    both["model"] = ["L4"] * 4 + ["H100"] * 9
    assert differing(both, "GPU-0") == []


def test_conditions_are_compared_point_by_point(tmp_path: Path) -> None:
    planted = {1: Planted(clock=0.8, temperature_c=15.0, facts={"pcie_width": 8})}
    run = read_run(make_survey(tmp_path / "run", gpus=7, count=9, planted=planted, lost=[6]))
    # One GPU has the rows of a third of the points only, which run at other clocks than the rest.
    slow = run.rows["family"] == "launch"
    run.rows.loc[slow, "sm_clock_hz"] *= 1.1
    rows = run.rows[slow | (run.rows["gpu"] != uuid_of(3))]
    found = conditions(rows, run.boards)
    assert list(found.columns) == [*(name for name in run.boards if name not in ("gpu", *MEASURED)), *MEASURED]
    assert list(found.index) == [uuid_of(i) for i in range(7)]
    assert found["sm_clock_hz"].iloc[[0, 2, 3, 4]].to_numpy() == pytest.approx(1.755e9, rel=0.01)
    assert found["sm_clock_hz"].iloc[1] == pytest.approx(0.8 * 1.755e9, rel=0.01)
    assert np.isnan(found["sm_clock_hz"].iloc[6])
    assert differing(found, uuid_of(3)) == []
    assert differing(found, uuid_of(6)) == []
    assert [one.fact for one in differing(found, uuid_of(1))] == ["sm_clock_hz", "pcie_width", "temperature_c"]


@pytest.mark.parametrize(
    ("reasons", "heat", "capped"),
    [(None, 0.0, 0.0), ("power cap", 0.0, 1.0), ("power cap, thermal (hardware)", 1.0, 1.0), ("thermal (software)", 1.0, 0.0)],
)
def test_why_a_gpu_was_slowed(tmp_path: Path, reasons: str | None, heat: float, capped: float) -> None:
    run = read_run(make_survey(tmp_path / "run", gpus=3, count=3))
    rows = run.rows.assign(throttle_reasons=reasons)
    found = conditions(rows, run.boards)
    assert found["heat_slowed"].tolist() == [heat] * 3
    assert found["power_capped"].tolist() == [capped] * 3


def test_a_sensor_that_shows_nothing_is_not_known(tmp_path: Path) -> None:
    run = read_run(make_survey(tmp_path / "run", gpus=3, count=3))
    found = conditions(run.rows.assign(power_w=0.0), run.boards)
    assert found["power_w"].isna().all()
    assert found["temperature_c"].notna().all()


def test_a_survey_without_rows_has_boards_all_the_same(tmp_path: Path) -> None:
    run = read_run(make_survey(tmp_path / "run", gpus=3, count=3, lost=[0, 1, 2]))
    found = conditions(run.rows, run.boards)
    assert len(found) == 3
    assert differing(found, uuid_of(0)) == []
