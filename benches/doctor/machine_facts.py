"""Facts that a machine reports about itself, and the findings of rules about them. None means not known. No I/O here, so that tests can
make facts up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from benches.devices.toolchain import Missing

Level = Literal["ok", "note", "warning", "blocks"]
LEVELS: tuple[Level, ...] = ("ok", "note", "warning", "blocks")


@dataclass(frozen=True)
class Process:
    """Somebody else's process. `share` is of one CPU core; `memory_bytes` is on the GPU."""

    pid: int
    name: str | None = None
    memory_bytes: int | None = None
    share: float | None = None


@dataclass(frozen=True)
class GpuFacts:
    """One board, as NVML tells. `config` is the file of configs/gpus that names it."""

    index: int
    name: str | None = None
    config: str | None = None
    quoted_clock_hz: float | None = None  # at which the board's tensor peaks are quoted
    uuid: str | None = None
    capability: tuple[int, int] | None = None
    sm_clock_hz: float | None = None
    sm_clock_max_hz: float | None = None
    application_clock_hz: float | None = None
    memory_clock_hz: float | None = None
    memory_clock_max_hz: float | None = None
    power_w: float | None = None
    power_cap_w: float | None = None
    power_default_w: float | None = None
    power_max_w: float | None = None
    persistence: bool | None = None
    ecc: bool | None = None
    mig: bool | None = None
    mig_slices: tuple[str, ...] = ()
    mig_uuids: tuple[str, ...] = ()  # of the slices: "MIG-…"
    processes: tuple[Process, ...] | None = None  # that compute on it, this one left out
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    utilisation: float | None = None  # fraction of the last second in which a kernel ran
    pcie_generation: int | None = None
    pcie_generation_max: int | None = None
    pcie_width: int | None = None
    pcie_width_max: int | None = None
    temperature_c: float | None = None
    slowdown_c: float | None = None  # where the hardware slows down
    clock_reasons: tuple[str, ...] | None = None  # why the clock is below its maximum
    compute_mode: str | None = None
    errors: Mapping[str, str] = field(default_factory=dict)  # queries that failed: what was asked, and NVML's answer


@dataclass(frozen=True)
class NvidiaFacts:
    """The driver and its boards. `error` is NVML's reason for telling nothing at all."""

    error: str | None = None
    driver: str | None = None
    driver_cuda: tuple[int, int] | None = None  # the newest CUDA that the driver runs
    gpus: tuple[GpuFacts, ...] = ()
    on_pci_bus: int | None = None  # NVIDIA display or compute controllers that the kernel sees, with or without a driver


@dataclass(frozen=True)
class Package:
    """One of pyproject.toml's dependencies: the version installed (None: absent) and the versions that will do."""

    name: str
    installed: str | None
    needs: str
    fits: bool


@dataclass(frozen=True)
class SoftwareFacts:
    """Python's side. `torch_error` is why torch cannot be imported."""

    python: str | None = None
    packages: tuple[Package, ...] = ()
    torch_error: str | None = None
    torch_cuda: str | None = None  # the CUDA runtime that torch was built with; None: a CPU build
    cuda_available: bool | None = None
    fp8: bool | None = None  # torch has the fp8 types
    interpret: str | None = None  # kernels.interpreter.setting
    visible_devices: str | None = None  # CUDA_VISIBLE_DEVICES
    cuda_uuids: tuple[str, ...] | None = None  # of the devices that torch finds, without "GPU-" or "MIG-"; None where it finds none
    missing_compiler: Missing | None = None  # what torch.compile, and on a GPU Triton, lack to build what they generate


@dataclass(frozen=True)
class HostFacts:
    """The CPU, memory, and the clock that times are read from."""

    cpu_model: str | None = None
    physical_cores: int | None = None
    logical_cores: int | None = None
    allowed_cores: int | None = None  # physical cores that this process may run on
    quota_cores: float | None = None  # CPU time a container may use each second
    governor: str | None = None
    load_1min: float | None = None
    busy: tuple[Process, ...] | None = None
    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    memory_limit_bytes: int | None = None  # of the container
    clock_source: str | None = None
    clock_read_s: float | None = None  # what reading perf_counter_ns costs
    threads_problem: str | None = None  # why OMP_NUM_THREADS is not valid


@dataclass(frozen=True)
class DiskFacts:
    """Where runs are written."""

    folder: str
    error: str | None = None  # why nothing can be written there
    free_bytes: int | None = None
    total_bytes: int | None = None
    fsync_s: float | None = None  # median of a small write brought to the disk


@dataclass(frozen=True)
class Facts:
    """All of a machine."""

    nvidia: NvidiaFacts = field(default_factory=NvidiaFacts)
    software: SoftwareFacts = field(default_factory=SoftwareFacts)
    host: HostFacts = field(default_factory=HostFacts)
    disk: DiskFacts = field(default_factory=lambda: DiskFacts("runs"))


@dataclass(frozen=True)
class Finding:
    """ok: as it should be. note: good to know. warning: a figure would be wrong or less precise. blocks: cannot be measured.

    `key` names the rule and stays the same; `do` is what to do about it, a command wherever there is one.
    """

    level: Level
    key: str
    where: str
    text: str
    do: str = ""
