"""Readings of a board through a scripted NVML: SI units, the queries that a reading makes, and values that a board does not report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from benches.devices import faults, nvml
from benches.devices.board_facts import BoardFacts
from benches.devices.node_gpus import simulated_uuid
from benches.devices.nvml import Board
from benches.devices.simulated import SimulatedDevice
from benches.run import board as run_board
from kernels.registry import OPS

INSTANT = {186: (pynvml.NVML_SUCCESS, 117_269)}  # milliwatts
SLOWDOWNS = {269: (pynvml.NVML_SUCCESS, 0), 270: (pynvml.NVML_ERROR_NOT_SUPPORTED, 0), 271: (pynvml.NVML_SUCCESS, 7 * 10**9)}
CLOCKS = {pynvml.NVML_CLOCK_SM: 1755, pynvml.NVML_CLOCK_MEM: 2619}


def nvml_script(monkeypatch: pytest.MonkeyPatch, failing: set[str], asked: list[str] | None = None, **changed: Any) -> Board:
    """A board that answers every query but those in `failing`. asked: gets every name. changed: other answers, values or functions."""
    fields = changed.pop("fields", INSTANT | SLOWDOWNS)

    def field_values(handle: str, ids: list[int]) -> list[Any]:
        value = {name: SimpleNamespace(uiVal=fields.get(name, (0, 0))[1], ullVal=fields.get(name, (0, 0))[1]) for name in ids}
        return [SimpleNamespace(fieldId=i, nvmlReturn=fields.get(i, (pynvml.NVML_ERROR_NOT_SUPPORTED,))[0], value=value[i]) for i in ids]

    def by_uuid(uuid: bytes) -> str:
        if not uuid.startswith(b"GPU-"):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return "handle"

    answers = {
        "nvmlInit": None,
        "nvmlDeviceGetHandleByUUID": by_uuid,
        "nvmlDeviceGetMigMode": [0, 0],
        "nvmlDeviceGetCurrentClocksThrottleReasons": pynvml.nvmlClocksThrottleReasonSwPowerCap,
        "nvmlDeviceGetClockInfo": lambda handle, clock: CLOCKS[clock],
        "nvmlDeviceGetPowerUsage": 85_871,
        "nvmlDeviceGetTemperature": 61,
        "nvmlDeviceGetTotalEnergyConsumption": 5_000,
        "nvmlDeviceGetViolationStatus": lambda handle, policy: SimpleNamespace(violationTime=(1 + policy) * 10**9),
        "nvmlDeviceGetCudaComputeCapability": (9, 0),
        "nvmlDeviceGetFieldValues": field_values,
        "nvmlDeviceGetVbiosVersion": "96.00.DA.00.0C",
        "nvmlSystemGetDriverVersion": "580.159.04",
    } | changed

    def script(name: str, value: Any) -> None:
        def query(*arguments: Any) -> Any:
            if asked is not None:
                asked.append(name)
            if name in failing or ("nvmlInit" in failing and name != "nvmlInit"):
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            return value(*arguments) if callable(value) else value

        monkeypatch.setattr(pynvml, name, query)

    for name, value in answers.items():
        script(name, value)
    return Board("GPU-0")


def test_a_reading_is_in_si_units(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = nvml_script(monkeypatch, set()).read()
    assert (reading.sm_clock_hz, reading.memory_clock_hz, reading.power_w) == (1.755e9, 2.619e9, pytest.approx(117.269))
    assert (reading.temperature_c, reading.reasons) == (61, ("power cap",))
    assert (reading.slowed_s, reading.energy_j) == ({}, None), "counters take milliseconds"


def test_counters_are_apart_and_the_energy_is_read_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    board = nvml_script(monkeypatch, set())
    slowed_s = {"power cap": 1.0, "thermal": 2.0, "board limit": 4.0, "reliability": 6.0, "thermal (software)": 0.0, "power brake": 7.0}
    assert board.counters() == nvml.Reading(slowed_s=slowed_s)
    assert board.counters(energy=True) == nvml.Reading(slowed_s=slowed_s, energy_j=5.0)


# On an H100 a violation counter takes 0.4 ms, the energy 2.4 ms, everything else that is read microseconds.
@pytest.mark.parametrize(
    ("read", "asked"),
    [
        (
            Board.read,
            {
                **{"nvmlDeviceGetClockInfo": 2, "nvmlDeviceGetFieldValues": 1, "nvmlDeviceGetTemperature": 1},
                "nvmlDeviceGetCurrentClocksThrottleReasons": 1,
            },
        ),
        (Board.counters, {"nvmlDeviceGetViolationStatus": 4, "nvmlDeviceGetFieldValues": 1}),
    ],
)
def test_what_a_reading_asks(monkeypatch: pytest.MonkeyPatch, read: Callable[[Board], nvml.Reading], asked: dict[str, int]) -> None:
    calls: list[str] = []
    board = nvml_script(monkeypatch, set(), calls)
    calls.clear()
    read(board)
    assert Counter(calls) == asked


@pytest.mark.parametrize(
    ("failing", "changed", "source", "power_w"),
    [
        (set(), {}, "instant", 117.269),
        (set(), {"fields": {}}, "1 s average", 85.871),
        ({"nvmlDeviceGetFieldValues"}, {}, "1 s average", 85.871),
        ({"nvmlDeviceGetFieldValues"}, {"nvmlDeviceGetCudaComputeCapability": (8, 6)}, "1 s average", 85.871),
        ({"nvmlDeviceGetFieldValues"}, {"nvmlDeviceGetCudaComputeCapability": (8, 0)}, "instant", 85.871),  # an A100
        ({"nvmlDeviceGetFieldValues"}, {"nvmlDeviceGetCudaComputeCapability": (7, 0)}, "instant", 85.871),
        ({"nvmlDeviceGetFieldValues", "nvmlDeviceGetCudaComputeCapability"}, {}, "1 s average", 85.871),
        ({"nvmlDeviceGetFieldValues", "nvmlDeviceGetPowerUsage"}, {}, None, None),
    ],
)
def test_the_instant_power_is_read_where_the_board_has_it(
    monkeypatch: pytest.MonkeyPatch, failing: set[str], changed: dict[str, Any], source: str | None, power_w: float | None
) -> None:
    board = nvml_script(monkeypatch, failing, **changed)
    assert board.power_source == source
    assert board.read().power_w == (None if power_w is None else pytest.approx(power_w))


def test_an_instant_power_that_fails_later_is_none_and_never_the_average(monkeypatch: pytest.MonkeyPatch) -> None:
    failing: set[str] = set()
    board = nvml_script(monkeypatch, failing)
    failing.add("nvmlDeviceGetFieldValues")
    assert board.read().power_w is None


def test_what_a_board_does_not_tell_is_none_and_nothing_else_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = {"nvmlDeviceGetViolationStatus", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetFieldValues", "nvmlDeviceGetVbiosVersion"}
    board = nvml_script(monkeypatch, failing)
    assert board.read().power_w is None
    assert board.counters(energy=True) == nvml.Reading(energy_j=5.0)
    assert board.read().sm_clock_hz == 1.755e9
    assert (board.vbios(), board.driver()) == (None, "580.159.04")


def test_without_nvml_a_reading_is_empty_and_the_problem_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    board = nvml_script(monkeypatch, {"nvmlInit"})
    assert board.read() == board.counters(energy=True) == nvml.Reading()
    assert (board.problem, board.mig, board.power_source) == ("Not Supported", False, None)
    assert (board.driver(), board.vbios(), board.clock_policy(), board.name()) == (None,) * 4


def test_a_board_that_nvml_does_not_know_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    board = nvml_script(monkeypatch, {"nvmlDeviceGetHandleByUUID"})
    assert (board.problem, board.driver(), board.read()) == ("Not Supported", "580.159.04", nvml.Reading())


@pytest.mark.parametrize(
    "changed",
    [
        {"nvmlDeviceGetHandleByUUID": lambda uuid: {b"MIG-0": "slice"}[uuid]},  # CUDA gives the slice's own UUID
        {"nvmlDeviceGetMigMode": [1, 1]},  # or that of the board
    ],
)
def test_a_mig_slice_is_known_as_one_and_not_read(monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]) -> None:
    board = nvml_script(monkeypatch, set(), **changed)
    assert (board.mig, board.problem, board.name()) == (True, None, None)
    assert board.read() == board.counters(energy=True) == nvml.Reading()


HEALTH: dict[str, Any] = {
    "nvmlDeviceGetSerial": b"1650123",
    "nvmlDeviceGetPciInfo": SimpleNamespace(busId=b"00000000:1B:00.0"),
    "nvmlDeviceGetEccMode": [1, 1],
    "nvmlDeviceGetTotalEccErrors": lambda handle, kind, lifetime: {0: 7, 1: 2}[kind],
    "nvmlDeviceGetRemappedRows": (3, 1, 0, 1),
    "nvmlDeviceGetCurrPcieLinkGeneration": 4,
    "nvmlDeviceGetCurrPcieLinkWidth": 8,
    "nvmlDeviceGetMaxPcieLinkGeneration": 5,
    "nvmlDeviceGetMaxPcieLinkWidth": 16,
    "nvmlDeviceGetPcieReplayCounter": 11,
    "nvmlDeviceGetMaxClockInfo": 1980,
    "nvmlDeviceGetEnforcedPowerLimit": 650_000,
}


def nvlinks(handle: str, link: int) -> int:
    """Three links, of which the second is down; the board has no others."""
    if link > 2:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    return int(link != 1)


def test_facts_of_a_board(monkeypatch: pytest.MonkeyPatch) -> None:
    links = {"nvmlDeviceGetNvLinkState": nvlinks, "nvmlDeviceGetNvLinkErrorCounter": lambda handle, link, counter: 10 * link + counter}
    board = nvml_script(monkeypatch, set(), fields=SLOWDOWNS | {82: (pynvml.NVML_SUCCESS, 71)}, **HEALTH, **links)
    assert board.facts().recorded() == {
        **{"serial": "1650123", "bus": "00000000:1B:00.0", "ecc": True, "ecc_corrected": 7, "ecc_uncorrected": 2},
        **{"remapped_rows_corrected": 3, "remapped_rows_uncorrected": 1, "remapping_pending": False, "remapping_failed": True},
        **{"pcie_generation": 4, "pcie_width": 8, "pcie_generation_max": 5, "pcie_width_max": 16, "pcie_replays": 11},
        # nvml.h: replay 0, recovery 1, CRC of a flit 2 and of data 3; links 0 and 2 are up
        **{"nvlinks": 2, "nvlink_replays": 0 + 20, "nvlink_recoveries": 1 + 21, "nvlink_crc_errors": 2 + 3 + 22 + 23},
        **{"sm_clock_max_hz": 1.98e9, "power_limit_w": 650.0, "memory_temperature_c": 71.0},
        "slowed_s": {
            **{"power cap": 1.0, "thermal": 2.0, "board limit": 4.0, "reliability": 6.0},
            **{"thermal (software)": 0.0, "power brake": 7.0},
        },
    }


def test_facts_that_a_board_does_not_give_are_null(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = {*HEALTH, "nvmlDeviceGetNvLinkState", "nvmlDeviceGetFieldValues", "nvmlDeviceGetViolationStatus"}
    board = nvml_script(monkeypatch, failing, **HEALTH, nvmlDeviceGetNvLinkState=nvlinks)
    found = board.facts().recorded()
    assert found.pop("slowed_s") == {}
    assert set(found.values()) == {None}


@pytest.mark.parametrize("failing", ["nvmlInit", "nvmlDeviceGetHandleByUUID"])
def test_a_board_that_nvml_does_not_know_has_no_facts(monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    assert nvml_script(monkeypatch, {failing}, **HEALTH).facts() == BoardFacts()


PLANTED = "board:3.pcie_width=8,board:3.ecc_corrected=7,board:0.ecc=0,board:3.slower=1.05"


@pytest.mark.parametrize(
    ("gpu", "ended", "facts"),
    [
        (3, False, {"pcie_width": 8, "ecc_corrected": 0, "ecc": True}),
        (3, True, {"pcie_width": 8, "ecc_corrected": 7, "ecc": True}),
        (2, True, {"pcie_width": 16, "ecc_corrected": 0, "ecc": True}),
        (None, True, {"pcie_width": 16, "ecc": False}),
    ],
)
def test_facts_are_planted_into_a_simulated_board(
    monkeypatch: pytest.MonkeyPatch, gpu: int | None, ended: bool, facts: dict[str, object]
) -> None:
    monkeypatch.setenv(faults.VARIABLE, PLANTED)
    found = run_board.facts("simulated", None if gpu is None else simulated_uuid(gpu), ended)
    assert found is not None
    assert {name: found[name] for name in facts} == facts


def test_a_slower_simulated_board_has_a_slower_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(faults.VARIABLE, PLANTED)
    point = OPS["matmul"].point("torch", "bf16", {"m": 127, "n": 129, "k": 1024}, {"layout": "nn"})
    slow, fine = (SimulatedDevice(uuid=simulated_uuid(i)) for i in (3, 2))
    assert slow.load(point, 1).cold_s == pytest.approx(1.05 * fine.load(point, 1).cold_s)
    assert fine.read().sm_clock_hz == pytest.approx(1.05 * (slow.read().sm_clock_hz or 0.0), rel=1e-3)


@pytest.mark.parametrize("fault", ["board:3", "board:x.pcie_width=8", "board:3.fans=2", "board:3.pcie_width=-8", "board:3.serial=1"])
def test_a_planted_fact_that_is_none_is_named(fault: str) -> None:
    with pytest.raises(faults.FaultError, match=r"is not board:GPU\.FACT=NUMBER with a fact of slower, ecc, ecc_corrected"):
        faults.parse(fault)


def test_a_device_without_a_board_has_no_facts() -> None:
    assert run_board.facts("cpu", None) is None
    assert run_board.facts("cuda", None) is None
