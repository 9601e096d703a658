"""What NVIDIA's management library reports. Everything is optional: a missing library, board or permission gives None.

Latencies are medians of an H100 (driver 580, 2026-11-26)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import pynvml

from benches.devices.base import POWER_CAP, Reading

PowerSource = Literal["instant", "1 s average"]

REASONS = {
    pynvml.nvmlClocksThrottleReasonSwPowerCap: POWER_CAP,
    pynvml.nvmlClocksThrottleReasonHwSlowdown: "hardware slowdown",
    pynvml.nvmlClocksThrottleReasonSwThermalSlowdown: "thermal (software)",
    pynvml.nvmlClocksThrottleReasonHwThermalSlowdown: "thermal (hardware)",
    pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown: "power brake",
}
POLICIES = {  # of nvmlDeviceGetViolationStatus
    pynvml.NVML_PERF_POLICY_POWER: POWER_CAP,
    pynvml.NVML_PERF_POLICY_THERMAL: "thermal",
    pynvml.NVML_PERF_POLICY_BOARD_LIMIT: "board limit",
    pynvml.NVML_PERF_POLICY_RELIABILITY: "reliability",
}
POWER_INSTANT = 186  # NVML_FI_DEV_POWER_INSTANT, milliwatts; nvmlDeviceGetPowerUsage is a 1 s average where the board has this field
# Compute capability of GA100, the last chip on which nvmlDeviceGetPowerUsage is the instant power (NVML's reference).
AVERAGED_AFTER = (8, 0)
FIELDS = {  # counters of newer drivers; the numbers of nvml.h, since older bindings lack the names
    269: "thermal (software)",  # NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN
    270: "thermal (hardware)",  # NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN
    271: "power brake",  # NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN
}


def gpu_count() -> int | None:
    """How many GPUs the driver lists, without importing torch or making a CUDA context; None where NVML gives no answer."""
    try:
        pynvml.nvmlInit()
        return pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError:
        return None


def has_gpu() -> bool:
    """Whether NVML lists a GPU."""
    return bool(gpu_count())


def ask(query: Callable[..., Any], *args: Any) -> Any:
    """The query's answer, or None where the board, driver or permissions do not give one."""
    try:
        return query(*args)
    except pynvml.NVMLError:
        return None


def scaled(value: float | None, factor: float) -> float | None:
    """value × factor, or None."""
    return None if value is None else value * factor


class Board:
    """One GPU, found by the UUID that CUDA gives it, "GPU-…" (indices differ under CUDA_VISIBLE_DEVICES).

    `problem` is why NVML gives nothing of it, or None. Of a MIG slice nothing is read: clocks, power and counters are the whole board's.
    """

    def __init__(self, uuid: str):
        self.handle = None
        self.mig = False
        self.problem: str | None = None
        self.power_source: PowerSource | None = None
        self._instant_field = False
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            self.problem = str(error)
            return
        self.mig = is_slice(uuid)
        if self.mig:
            return
        try:
            self.handle = pynvml.nvmlDeviceGetHandleByUUID(uuid.encode())
        except pynvml.NVMLError as error:
            self.problem = str(error)
            return
        self._instant_field = POWER_INSTANT in self._fields([POWER_INSTANT])
        self.power_source = self._power_source()

    def driver(self) -> str | None:
        return ask(pynvml.nvmlSystemGetDriverVersion)

    def vbios(self) -> str | None:
        return ask(pynvml.nvmlDeviceGetVbiosVersion, self.handle) if self.handle else None

    def clock_policy(self) -> str | None:
        """What holds the clocks, as far as NVML shows it (not `nvidia-smi -lgc`): the application clock and the power cap."""
        if not self.handle:
            return None
        clock = ask(pynvml.nvmlDeviceGetApplicationsClock, self.handle, pynvml.NVML_CLOCK_SM)
        cap = scaled(ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, self.handle), 1e-3)
        told = [f"application clock {clock} MHz"] * (clock is not None) + [f"power cap {cap:.0f} W"] * (cap is not None)
        return ", ".join(told) or None

    def name(self) -> str | None:
        return ask(pynvml.nvmlDeviceGetName, self.handle) if self.handle else None

    def _power_source(self) -> PowerSource | None:
        """Which power `read` gives: found once, so that one run never mixes the two."""
        if self._instant_field:
            return "instant"
        if ask(pynvml.nvmlDeviceGetPowerUsage, self.handle) is None:
            return None
        capability = ask(pynvml.nvmlDeviceGetCudaComputeCapability, self.handle)
        return "instant" if capability is not None and tuple(capability) <= AVERAGED_AFTER else "1 s average"

    def read(self) -> Reading:
        """Clocks, power, temperature, and what slows the board now: about 15 us, so it may be taken while a sample runs."""
        if not self.handle:
            return Reading()
        reasons = ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, self.handle)
        return Reading(
            sm_clock_hz=scaled(ask(pynvml.nvmlDeviceGetClockInfo, self.handle, pynvml.NVML_CLOCK_SM), 1e6),
            memory_clock_hz=scaled(ask(pynvml.nvmlDeviceGetClockInfo, self.handle, pynvml.NVML_CLOCK_MEM), 1e6),
            power_w=self._power_w(),
            temperature_c=ask(pynvml.nvmlDeviceGetTemperature, self.handle, pynvml.NVML_TEMPERATURE_GPU),
            reasons=None if reasons is None else tuple(text for bit, text in REASONS.items() if reasons & bit),
        )

    def counters(self, energy: bool = False) -> Reading:
        """For how long each cause has slowed the board, and with `energy` the energy so far; nothing else.

        About 2.5 ms, and as much again with the energy, so never while a sample runs. The energy counter moves every 0.1 s.
        """
        if not self.handle:
            return Reading()
        used = scaled(ask(pynvml.nvmlDeviceGetTotalEnergyConsumption, self.handle), 1e-3) if energy else None
        return Reading(slowed_s=self._slowed_s(), energy_j=used)

    def _power_w(self) -> float | None:
        if self._instant_field:
            value = self._fields([POWER_INSTANT]).get(POWER_INSTANT)
            return None if value is None else value.uiVal * 1e-3
        return scaled(ask(pynvml.nvmlDeviceGetPowerUsage, self.handle), 1e-3)

    def _slowed_s(self) -> dict[str, float]:
        """Both kinds of counter are nanoseconds since the driver was loaded."""
        found = {}
        for policy, cause in POLICIES.items():
            status = ask(pynvml.nvmlDeviceGetViolationStatus, self.handle, policy)
            if status is not None:
                found[cause] = status.violationTime / 1e9
        return found | {FIELDS[name]: value.ullVal / 1e9 for name, value in self._fields(list(FIELDS)).items()}

    def _fields(self, names: Sequence[int]) -> dict[int, Any]:
        """Values of the fields that the board has, by number, asked in one call."""
        values = ask(pynvml.nvmlDeviceGetFieldValues, self.handle, list(names)) or ()
        return {value.fieldId: value.value for value in values if value.nvmlReturn == pynvml.NVML_SUCCESS}


def is_slice(uuid: str) -> bool:
    """Whether CUDA's device is a MIG slice: by its own UUID, or by that of its board, which drivers before CUDA 12 give instead."""
    if ask(pynvml.nvmlDeviceGetHandleByUUID, uuid.replace("GPU-", "MIG-", 1).encode()) is not None:
        return True
    board = ask(pynvml.nvmlDeviceGetHandleByUUID, uuid.encode())
    modes = ask(pynvml.nvmlDeviceGetMigMode, board) if board is not None else None
    return modes is not None and modes[0] == pynvml.NVML_DEVICE_MIG_ENABLE
