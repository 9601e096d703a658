"""Asking the machine: an NVML that answers, fails midway or is missing, and files as containers have them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
from packaging.requirements import Requirement

from benches.doctor import probe
from benches.doctor.machine_facts import Facts, GpuFacts, HostFacts, NvidiaFacts, Process
from benches.doctor.nvml import probe_nvidia
from benches.doctor.rules import can_measure, judge

OTHER_PID = 2**22 + 711  # more than Linux gives, so never this process
ANSWERS: dict[str, Any] = {
    "nvmlInit": None,
    "nvmlDeviceGetCount": 1,
    "nvmlSystemGetDriverVersion": b"575.57.08",
    "nvmlSystemGetCudaDriverVersion_v2": 12090,
    "nvmlSystemGetProcessName": "/usr/bin/python3",
    "nvmlDeviceGetHandleByIndex": "handle",
    "nvmlDeviceGetName": "NVIDIA H100 80GB HBM3",
    "nvmlDeviceGetUUID": "GPU-1",
    "nvmlDeviceGetCudaComputeCapability": (9, 0),
    "nvmlDeviceGetClockInfo": 1755,
    "nvmlDeviceGetMaxClockInfo": 1980,
    "nvmlDeviceGetApplicationsClock": 1980,
    "nvmlDeviceGetPowerUsage": 70_000,
    "nvmlDeviceGetPowerManagementLimit": 500_000,
    "nvmlDeviceGetPowerManagementDefaultLimit": 700_000,
    "nvmlDeviceGetPowerManagementLimitConstraints": [200_000, 700_000],
    "nvmlDeviceGetPersistenceMode": 0,
    "nvmlDeviceGetEccMode": [1, 1],
    "nvmlDeviceGetMigMode": [1, 1],
    "nvmlDeviceGetMaxMigDeviceCount": 7,
    "nvmlDeviceGetMigDeviceHandleByIndex": "slice",
    "nvmlDeviceGetComputeRunningProcesses": [
        SimpleNamespace(pid=OTHER_PID, usedGpuMemory=20 * 10**9),
        SimpleNamespace(pid=os.getpid(), usedGpuMemory=None),
    ],
    "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=21 * 10**9, total=85 * 10**9),
    "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=50),
    "nvmlDeviceGetCurrPcieLinkGeneration": 1,
    "nvmlDeviceGetMaxPcieLinkGeneration": 5,
    "nvmlDeviceGetCurrPcieLinkWidth": 8,
    "nvmlDeviceGetMaxPcieLinkWidth": 16,
    "nvmlDeviceGetTemperature": 40,
    "nvmlDeviceGetTemperatureThreshold": 87,
    "nvmlDeviceGetCurrentClocksThrottleReasons": pynvml.nvmlClocksThrottleReasonSwThermalSlowdown | pynvml.nvmlClocksThrottleReasonGpuIdle,
    "nvmlDeviceGetComputeMode": 3,
}
CONSTANTS = {name: value for name, value in vars(pynvml).items() if name.startswith(("NVML_", "nvmlClocksThrottleReason"))}


def fake(fails: Callable[[str, int], int | None] = lambda name, call: None, missing: tuple[str, ...] = ()) -> Any:
    """An NVML that answers by ANSWERS. `fails(name, number of the call)` gives an NVML error code, or None."""
    calls = 0

    def function(name: str) -> Callable[..., Any]:
        def answer(*_: Any) -> Any:
            nonlocal calls
            calls += 1
            code = fails(name, calls)
            if code is not None:
                raise pynvml.NVMLError(code)
            return ANSWERS[name]

        return answer

    return SimpleNamespace(**CONSTANTS, **{name: function(name) for name in ANSWERS if name not in missing})


def test_every_answer_becomes_a_fact_in_si_units(tmp_path: Path) -> None:
    found = probe_nvidia(fake(), tmp_path)
    assert found == NvidiaFacts(
        driver="575.57.08",
        driver_cuda=(12, 9),
        on_pci_bus=0,
        gpus=(
            GpuFacts(
                index=0,
                name="NVIDIA H100 80GB HBM3",
                config="h100_sxm5",
                quoted_clock_hz=1.83e9,
                uuid="GPU-1",
                capability=(9, 0),
                sm_clock_hz=1.755e9,
                sm_clock_max_hz=1.98e9,
                application_clock_hz=1.98e9,
                memory_clock_hz=1.755e9,
                memory_clock_max_hz=1.98e9,
                power_w=70,
                power_cap_w=500,
                power_default_w=700,
                power_max_w=700,
                persistence=False,
                ecc=True,
                mig=True,
                mig_slices=("NVIDIA H100 80GB HBM3",) * 7,
                mig_uuids=("GPU-1",) * 7,
                processes=(Process(OTHER_PID, "/usr/bin/python3", 20 * 10**9),),
                memory_used_bytes=21 * 10**9,
                memory_total_bytes=85 * 10**9,
                utilisation=0.5,
                pcie_generation=1,
                pcie_generation_max=5,
                pcie_width=8,
                pcie_width_max=16,
                temperature_c=40,
                slowdown_c=87,
                clock_reasons=("idle", "thermal (software)"),
                compute_mode="exclusive process",
            ),
        ),
    )


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED])
def test_without_nvml(tmp_path: Path, code: int) -> None:
    found = probe_nvidia(fake(lambda name, _: code if name == "nvmlInit" else None), tmp_path)
    assert found.gpus == ()
    assert found.error == str(pynvml.NVMLError(code))


@pytest.mark.slow
@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_UNKNOWN, pynvml.NVML_ERROR_NO_PERMISSION, 12345])
@pytest.mark.parametrize("first", range(1, 45, 3))
def test_failing_midway_is_a_finding(tmp_path: Path, first: int, code: int) -> None:
    """From the `first` call on everything fails."""
    found = probe_nvidia(fake(lambda _, call: code if call >= first else None), tmp_path)
    findings = judge(Facts(nvidia=found))
    if code == pynvml.NVML_ERROR_GPU_IS_LOST and first > 4:
        assert not can_measure(findings)
    assert all(finding.text for finding in findings)


@pytest.mark.slow
@pytest.mark.parametrize("name", ANSWERS)
def test_any_one_function_may_be_missing_or_not_supported(tmp_path: Path, name: str) -> None:
    """An older library lacks functions; a board that lacks a feature says so, and that is no error."""
    without = probe_nvidia(fake(missing=(name,)), tmp_path)
    unsupported = probe_nvidia(fake(lambda asked, _: pynvml.NVML_ERROR_NOT_SUPPORTED if asked == name else None), tmp_path)
    for found in (without, unsupported):
        judge(Facts(nvidia=found))
    assert all(not gpu.errors for gpu in unsupported.gpus)


def test_boards_without_a_driver_are_seen_on_the_bus(tmp_path: Path) -> None:
    for number, (vendor, kind) in enumerate([("0x10de", "0x030200"), ("0x10de", "0x040300"), ("0x1002", "0x030000")]):
        device = tmp_path / f"0000:0{number}:00.0"
        device.mkdir()
        (device / "vendor").write_text(f"{vendor}\n", encoding="utf-8")
        (device / "class").write_text(f"{kind}\n", encoding="utf-8")
    missing = fake(lambda *_: pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
    assert probe_nvidia(missing, tmp_path).on_pci_bus == 1
    assert probe_nvidia(missing, tmp_path / "absent").on_pci_bus is None


@pytest.mark.parametrize(("text", "problem"), [("2,1", None), ("", None), ("two", "OMP_NUM_THREADS: 'two' is not a number of threads")])
def test_what_is_wrong_with_the_number_of_threads(monkeypatch: pytest.MonkeyPatch, text: str, problem: str | None) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    found = probe.threads_problem()
    assert found is None if problem is None else found is not None and found.startswith(problem)


@pytest.mark.parametrize(("text", "limit"), [("1000000000\n", 10**9), ("max\n", None), ("9223372036854771712\n", None)])
def test_memory_limit_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, limit: int | None) -> None:
    (tmp_path / "memory.max").write_text(text, encoding="utf-8")
    of = probe.cgroup_files
    monkeypatch.setattr(probe, "cgroup_files", lambda *names: of(*names, root=tmp_path))
    assert probe.memory_limit() == limit


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    found = probe.probe_disk(Path("/proc/nowhere"))
    assert found.error
    assert found.fsync_s is None
    good = probe.probe_disk(tmp_path / "not" / "yet")
    assert good.error is None
    assert good.fsync_s is not None
    assert good.free_bytes is not None
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


@pytest.mark.parametrize(("need", "fits"), [("pytest>=8", True), ("pytest>=999", False), ("no-such-package>=1", False), ("numpy>=2", True)])
def test_packages_against_their_bounds(need: str, fits: bool) -> None:
    assert probe.package(Requirement(need)).fits is fits


def fake_torch(uuid: Callable[[int], str], count: int = 2) -> Any:
    """A torch that finds so many devices."""
    cuda = SimpleNamespace(device_count=lambda: count, get_device_properties=lambda i: SimpleNamespace(uuid=uuid(i)))
    return SimpleNamespace(cuda=cuda)


def lost(index: int) -> str:
    raise RuntimeError("CUDA error: device is lost")


@pytest.mark.parametrize(
    ("torch", "uuids"),
    [
        (fake_torch(lambda i: f"39f45818-{i}"), ("39f45818-0", "39f45818-1")),
        (fake_torch(lambda i: "", count=0), ()),
        (fake_torch(lost), None),
        (SimpleNamespace(cuda=SimpleNamespace(device_count=lambda: 1, get_device_properties=lambda i: object())), None),
    ],
)
def test_the_devices_that_torch_finds(torch: Any, uuids: tuple[str, ...] | None) -> None:
    assert probe.cuda_uuids(torch) == uuids


@pytest.mark.slow
def test_this_machine() -> None:
    found = probe.probe_host()
    assert isinstance(found, HostFacts)
    assert found.memory_total_bytes
    assert found.clock_read_s
    assert any(package.name == "numpy" and package.fits for package in probe.packages(probe.ROOT / "pyproject.toml"))
