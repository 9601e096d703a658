"""The inventory of NVIDIA boards. Any call may fail or be missing from the library: that is a fact too, never an exception."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml

from benches.doctor.machine_facts import GpuFacts, NvidiaFacts, Process
from kernels.gpus import Gpu, GpuError, gpu_for_board

PCI = Path("/sys/bus/pci/devices")
NVIDIA_VENDOR = "0x10de"
DISPLAY_CLASS = "0x03"  # the class of VGA and 3D controllers

REASONS = {
    "idle": "GpuIdle",
    "clock setting": "ApplicationsClocksSetting",
    "power cap": "SwPowerCap",
    "hardware slowdown": "HwSlowdown",
    "sync boost": "SyncBoost",
    "thermal (software)": "SwThermalSlowdown",
    "thermal (hardware)": "HwThermalSlowdown",
    "power brake": "HwPowerBrakeSlowdown",
}
MODES = {0: "default", 1: "exclusive thread", 2: "prohibited", 3: "exclusive process"}


class Asker:
    """Asks NVML by name and keeps what went wrong. What a board does not have is no error: the answer is None."""

    def __init__(self, nvml: Any):
        self.nvml = nvml
        self.errors: dict[str, str] = {}

    def ask(self, name: str, *arguments: Any, scale: float | None = None) -> Any:
        """The answer of `nvml.<name>`, multiplied by `scale` where one is given."""
        try:
            answer = getattr(self.nvml, name)(*arguments)
            return answer if scale is None else answer * scale
        except pynvml.NVMLError as error:
            if error.value != pynvml.NVML_ERROR_NOT_SUPPORTED:
                self.errors[name] = str(error)
        except (AttributeError, TypeError, ValueError, OSError) as error:  # an older library, or an answer of another shape
            self.errors[name] = f"{type(error).__name__}: {error}"
        return None

    def constant(self, name: str) -> Any:
        return getattr(self.nvml, name, None)


def probe_nvidia(nvml: Any = pynvml, pci: Path = PCI) -> NvidiaFacts:
    """Every board that the driver sees, whatever CUDA_VISIBLE_DEVICES says."""
    asker = Asker(nvml)
    asker.ask("nvmlInit")
    on_bus = controllers(pci)
    if asker.errors:
        return NvidiaFacts(error=_why(asker, "nvmlInit"), on_pci_bus=on_bus)
    count = asker.ask("nvmlDeviceGetCount")
    if count is None:
        return NvidiaFacts(error=_why(asker, "nvmlDeviceGetCount"), on_pci_bus=on_bus)
    cuda = asker.ask("nvmlSystemGetCudaDriverVersion_v2")
    return NvidiaFacts(
        driver=_text(asker.ask("nvmlSystemGetDriverVersion")),
        driver_cuda=None if cuda is None else (cuda // 1000, cuda % 1000 // 10),
        gpus=tuple(_gpu(Asker(nvml), index) for index in range(count)),
        on_pci_bus=on_bus,
    )


def _why(asker: Asker, name: str) -> str:
    return asker.errors.get(name, "not supported")


def controllers(pci: Path) -> int | None:
    """NVIDIA boards that the kernel sees on the bus; None where it does not tell."""
    try:
        found = [device for device in pci.iterdir() if (device / "vendor").read_text(encoding="utf-8").strip() == NVIDIA_VENDOR]
        return sum((device / "class").read_text(encoding="utf-8").startswith(DISPLAY_CLASS) for device in found)
    except OSError:
        return None


def _gpu(asker: Asker, index: int) -> GpuFacts:
    handle = asker.ask("nvmlDeviceGetHandleByIndex", index)
    if handle is None:
        return GpuFacts(index, errors=asker.errors)

    def ask(name: str, *arguments: Any, scale: float | None = None) -> Any:
        return asker.ask(name, handle, *arguments, scale=scale)

    def flag(name: str, choose: Callable[[Any], Any] = lambda answer: answer) -> bool | None:
        answer = ask(name)
        return None if answer is None else bool(choose(answer))

    name = _text(ask("nvmlDeviceGetName"))
    gpu = _described(name)
    sm, memory = asker.constant("NVML_CLOCK_SM"), asker.constant("NVML_CLOCK_MEM")
    held = ask("nvmlDeviceGetMemoryInfo")
    limits = ask("nvmlDeviceGetPowerManagementLimitConstraints", scale=None)
    rates = ask("nvmlDeviceGetUtilizationRates")
    mig = flag("nvmlDeviceGetMigMode", lambda modes: modes[0])
    slices = _slices(asker, handle) if mig else ()
    mode = ask("nvmlDeviceGetComputeMode")
    capability = ask("nvmlDeviceGetCudaComputeCapability")
    return GpuFacts(
        index=index,
        name=name,
        config=gpu.name if gpu else None,
        quoted_clock_hz=gpu.boost_clock_hz if gpu else None,
        uuid=_text(ask("nvmlDeviceGetUUID")),
        capability=tuple(capability) if capability else None,
        sm_clock_hz=ask("nvmlDeviceGetClockInfo", sm, scale=1e6),
        sm_clock_max_hz=ask("nvmlDeviceGetMaxClockInfo", sm, scale=1e6),
        application_clock_hz=ask("nvmlDeviceGetApplicationsClock", sm, scale=1e6),
        memory_clock_hz=ask("nvmlDeviceGetClockInfo", memory, scale=1e6),
        memory_clock_max_hz=ask("nvmlDeviceGetMaxClockInfo", memory, scale=1e6),
        power_w=ask("nvmlDeviceGetPowerUsage", scale=1e-3),
        power_cap_w=ask("nvmlDeviceGetPowerManagementLimit", scale=1e-3),
        power_default_w=ask("nvmlDeviceGetPowerManagementDefaultLimit", scale=1e-3),
        power_max_w=limits[1] / 1e3 if limits else None,
        persistence=flag("nvmlDeviceGetPersistenceMode"),
        ecc=flag("nvmlDeviceGetEccMode", lambda modes: modes[0]),
        mig=mig,
        mig_slices=tuple(name for name, _ in slices),
        mig_uuids=tuple(uuid for _, uuid in slices if uuid),
        processes=_processes(asker, handle),
        memory_used_bytes=held.used if held else None,
        memory_total_bytes=held.total if held else None,
        utilisation=rates.gpu / 100 if rates else None,
        pcie_generation=ask("nvmlDeviceGetCurrPcieLinkGeneration"),
        pcie_generation_max=ask("nvmlDeviceGetMaxPcieLinkGeneration"),
        pcie_width=ask("nvmlDeviceGetCurrPcieLinkWidth"),
        pcie_width_max=ask("nvmlDeviceGetMaxPcieLinkWidth"),
        temperature_c=ask("nvmlDeviceGetTemperature", asker.constant("NVML_TEMPERATURE_GPU"), scale=1.0),
        slowdown_c=ask("nvmlDeviceGetTemperatureThreshold", asker.constant("NVML_TEMPERATURE_THRESHOLD_SLOWDOWN"), scale=1.0),
        clock_reasons=_reasons(asker, handle),
        compute_mode=None if mode is None else MODES.get(mode, f"mode {mode}"),
        errors=asker.errors,
    )


def _described(name: str | None) -> Gpu | None:
    try:
        return gpu_for_board(name) if name else None
    except GpuError:  # a broken YAML is told by whatever needs it
        return None


def _reasons(asker: Asker, handle: Any) -> tuple[str, ...] | None:
    bits = asker.ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
    if bits is None:
        return None
    return tuple(text for text, name in REASONS.items() if bits & (asker.constant(f"nvmlClocksThrottleReason{name}") or 0))


def _slices(asker: Asker, handle: Any) -> tuple[tuple[str, str | None], ...]:
    """Names and UUIDs of the MIG devices. A place without one answers "not found", which is no error."""
    found = []
    for i in range(asker.ask("nvmlDeviceGetMaxMigDeviceCount", handle) or 0):
        quiet = Asker(asker.nvml)
        part = quiet.ask("nvmlDeviceGetMigDeviceHandleByIndex", handle, i)
        if part is not None:
            found.append((_text(quiet.ask("nvmlDeviceGetName", part)) or f"slice {i}", _text(quiet.ask("nvmlDeviceGetUUID", part))))
    return tuple(found)


def _processes(asker: Asker, handle: Any) -> tuple[Process, ...] | None:
    running = asker.ask("nvmlDeviceGetComputeRunningProcesses", handle)
    if running is None:
        return None
    quiet = Asker(asker.nvml)  # in a container the names of others are not to be had
    return tuple(
        Process(p.pid, _text(quiet.ask("nvmlSystemGetProcessName", p.pid)), p.usedGpuMemory) for p in running if p.pid != os.getpid()
    )


def _text(answer: Any) -> str | None:
    """Older libraries answer in bytes."""
    return answer.decode(errors="replace") if isinstance(answer, bytes) else answer
