"""What NVIDIA's management library reports. Everything is optional: a missing library, board or permission gives None.

Latencies are medians of an H100 (driver 580, 2026-11-26)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import pynvml

from benches.devices.base import POWER_CAP, Reading
from benches.devices.board_facts import BoardFacts

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
MEMORY_TEMPERATURE = 82  # NVML_FI_DEV_MEMORY_TEMP, degrees Celsius
LINK_ERRORS = {  # counters of nvmlDeviceGetNvLinkErrorCounter
    "nvlink_crc_errors": (pynvml.NVML_NVLINK_ERROR_DL_CRC_FLIT, pynvml.NVML_NVLINK_ERROR_DL_CRC_DATA),
    "nvlink_replays": (pynvml.NVML_NVLINK_ERROR_DL_REPLAY,),
    "nvlink_recoveries": (pynvml.NVML_NVLINK_ERROR_DL_RECOVERY,),
}
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

    def facts(self) -> BoardFacts:
        """Errors of its memory, its links, and for how long what has slowed it: tens of milliseconds, so never while a sample runs."""
        if not self.handle:
            return BoardFacts()
        ecc = ask(pynvml.nvmlDeviceGetEccMode, self.handle)
        rows = ask(pynvml.nvmlDeviceGetRemappedRows, self.handle) or (None,) * 4
        bus = ask(pynvml.nvmlDeviceGetPciInfo, self.handle)
        memory = self._fields([MEMORY_TEMPERATURE]).get(MEMORY_TEMPERATURE)
        return BoardFacts(
            serial=_text(ask(pynvml.nvmlDeviceGetSerial, self.handle)),
            bus=_text(bus.busId) if bus is not None else None,
            ecc=None if ecc is None else bool(ecc[0]),
            ecc_corrected=self._ecc_errors(pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED),
            ecc_uncorrected=self._ecc_errors(pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
            remapped_rows_corrected=rows[0],
            remapped_rows_uncorrected=rows[1],
            remapping_pending=None if rows[2] is None else bool(rows[2]),
            remapping_failed=None if rows[3] is None else bool(rows[3]),
            pcie_generation=ask(pynvml.nvmlDeviceGetCurrPcieLinkGeneration, self.handle),
            pcie_width=ask(pynvml.nvmlDeviceGetCurrPcieLinkWidth, self.handle),
            pcie_generation_max=ask(pynvml.nvmlDeviceGetMaxPcieLinkGeneration, self.handle),
            pcie_width_max=ask(pynvml.nvmlDeviceGetMaxPcieLinkWidth, self.handle),
            pcie_replays=ask(pynvml.nvmlDeviceGetPcieReplayCounter, self.handle),
            sm_clock_max_hz=scaled(ask(pynvml.nvmlDeviceGetMaxClockInfo, self.handle, pynvml.NVML_CLOCK_SM), 1e6),
            power_limit_w=scaled(ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, self.handle), 1e-3),
            memory_temperature_c=None if memory is None else float(memory.uiVal),
            slowed_s=self._slowed_s(),
            **self._links(),
        )

    def _ecc_errors(self, kind: int) -> int | None:
        return ask(pynvml.nvmlDeviceGetTotalEccErrors, self.handle, kind, pynvml.NVML_AGGREGATE_ECC)

    def _links(self) -> dict[str, int | None]:
        """The NVLinks that are active, and their errors together; None where the board has none, or does not count."""
        states = [ask(pynvml.nvmlDeviceGetNvLinkState, self.handle, link) for link in range(pynvml.NVML_NVLINK_MAX_LINKS)]
        if all(state is None for state in states):
            return {}
        active = [link for link, state in enumerate(states) if state == pynvml.NVML_FEATURE_ENABLED]
        found: dict[str, int | None] = {"nvlinks": len(active)}
        for name, counters in LINK_ERRORS.items():
            counted = [ask(pynvml.nvmlDeviceGetNvLinkErrorCounter, self.handle, link, counter) for link in active for counter in counters]
            known = [count for count in counted if count is not None]
            found[name] = sum(known) if known else None
        return found

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


def _text(answer: str | bytes | None) -> str | None:
    """Older bindings of NVML answer in bytes."""
    return answer.decode(errors="replace") if isinstance(answer, bytes) else answer


def is_slice(uuid: str) -> bool:
    """Whether CUDA's device is a MIG slice: by its own UUID, or by that of its board, which drivers before CUDA 12 give instead."""
    if ask(pynvml.nvmlDeviceGetHandleByUUID, uuid.replace("GPU-", "MIG-", 1).encode()) is not None:
        return True
    board = ask(pynvml.nvmlDeviceGetHandleByUUID, uuid.encode())
    modes = ask(pynvml.nvmlDeviceGetMigMode, board) if board is not None else None
    return modes is not None and modes[0] == pynvml.NVML_DEVICE_MIG_ENABLE
