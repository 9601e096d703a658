"""What NVIDIA's management library tells. Everything is optional: a missing library, board or permission gives None."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pynvml

from benches.devices.base import POWER_CAP, Reading

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
FIELDS = {  # counters of newer drivers; the numbers of nvml.h, since older bindings lack the names
    269: "thermal (software)",  # NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN
    270: "thermal (hardware)",  # NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN
    271: "power brake",  # NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN
}


def has_gpu() -> bool:
    """Whether the driver sees a GPU, without importing torch or making a CUDA context."""
    try:
        pynvml.nvmlInit()
        return pynvml.nvmlDeviceGetCount() > 0
    except pynvml.NVMLError:
        return False


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
    """One GPU, found by the UUID that CUDA gives it (indices differ under CUDA_VISIBLE_DEVICES)."""

    def __init__(self, uuid: str):
        self.handle = None
        if ask(lambda: pynvml.nvmlInit() or True):
            self.handle = ask(pynvml.nvmlDeviceGetHandleByUUID, uuid.encode())

    def driver(self) -> str | None:
        return ask(pynvml.nvmlSystemGetDriverVersion) if self.handle else None

    def clock_policy(self) -> str | None:
        """What holds the clocks, as far as NVML tells (not `nvidia-smi -lgc`): the application clock and the power cap."""
        if not self.handle:
            return None
        clock = ask(pynvml.nvmlDeviceGetApplicationsClock, self.handle, pynvml.NVML_CLOCK_SM)
        cap = scaled(ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, self.handle), 1e-3)
        told = [f"application clock {clock} MHz"] * (clock is not None) + [f"power cap {cap:.0f} W"] * (cap is not None)
        return ", ".join(told) or None

    def name(self) -> str | None:
        return ask(pynvml.nvmlDeviceGetName, self.handle) if self.handle else None

    def read(self) -> Reading:
        """Clocks, power, temperature, energy, what slows the board now, and for how long each cause has."""
        if not self.handle:
            return Reading()
        reasons = ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, self.handle)
        return Reading(
            sm_clock_hz=scaled(ask(pynvml.nvmlDeviceGetClockInfo, self.handle, pynvml.NVML_CLOCK_SM), 1e6),
            memory_clock_hz=scaled(ask(pynvml.nvmlDeviceGetClockInfo, self.handle, pynvml.NVML_CLOCK_MEM), 1e6),
            power_w=scaled(ask(pynvml.nvmlDeviceGetPowerUsage, self.handle), 1e-3),
            temperature_c=ask(pynvml.nvmlDeviceGetTemperature, self.handle, pynvml.NVML_TEMPERATURE_GPU),
            reasons=None if reasons is None else tuple(text for bit, text in REASONS.items() if reasons & bit),
            slowed_s=self._slowed_s(),
            energy_j=scaled(ask(pynvml.nvmlDeviceGetTotalEnergyConsumption, self.handle), 1e-3),
        )

    def _slowed_s(self) -> dict[str, float]:
        """Both kinds of counter are nanoseconds since the driver was loaded."""
        found = {}
        for policy, cause in POLICIES.items():
            status = ask(pynvml.nvmlDeviceGetViolationStatus, self.handle, policy)
            if status is not None:
                found[cause] = status.violationTime / 1e9
        for value in ask(pynvml.nvmlDeviceGetFieldValues, self.handle, list(FIELDS)) or ():
            if value.nvmlReturn == pynvml.NVML_SUCCESS:
                found[FIELDS[value.fieldId]] = value.value.ullVal / 1e9
        return found
