"""What NVIDIA's management library tells. Everything is optional: a missing library, board or permission gives None."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pynvml

from benches.row import Conditions

REASONS = {
    pynvml.nvmlClocksThrottleReasonSwPowerCap: "power cap",
    pynvml.nvmlClocksThrottleReasonHwSlowdown: "hardware slowdown",
    pynvml.nvmlClocksThrottleReasonSwThermalSlowdown: "thermal (software)",
    pynvml.nvmlClocksThrottleReasonHwThermalSlowdown: "thermal (hardware)",
    pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown: "power brake",
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


class Board:
    """One GPU, found by the UUID that CUDA gives it (indices differ under CUDA_VISIBLE_DEVICES)."""

    def __init__(self, uuid: str):
        self.handle = None
        if ask(lambda: pynvml.nvmlInit() or True):
            self.handle = ask(pynvml.nvmlDeviceGetHandleByUUID, uuid.encode())

    def driver(self) -> str | None:
        return ask(pynvml.nvmlSystemGetDriverVersion) if self.handle else None

    def name(self) -> str | None:
        return ask(pynvml.nvmlDeviceGetName, self.handle) if self.handle else None

    def conditions(self) -> Conditions:
        if not self.handle:
            return Conditions()
        mhz = [ask(pynvml.nvmlDeviceGetClockInfo, self.handle, c) for c in (pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM)]
        milliwatts = ask(pynvml.nvmlDeviceGetPowerUsage, self.handle)
        reasons = ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, self.handle)
        return Conditions(
            sm_clock_hz=None if mhz[0] is None else mhz[0] * 1e6,
            memory_clock_hz=None if mhz[1] is None else mhz[1] * 1e6,
            power_w=None if milliwatts is None else milliwatts / 1e3,
            temperature_c=ask(pynvml.nvmlDeviceGetTemperature, self.handle, pynvml.NVML_TEMPERATURE_GPU),
            throttle_reasons=None if reasons is None else [text for bit, text in REASONS.items() if reasons & bit],
        )
