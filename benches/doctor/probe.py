"""Asks the machine. Everything that reads files, clocks or libraries is here and in nvml.py; nothing here judges."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import statistics
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from packaging.requirements import Requirement

from benches.devices.cores import ThreadsError, cgroup_files, quota_cores, read, threads_asked, usable_cores
from benches.devices.toolchain import missing_for_cpu, missing_for_cuda
from benches.doctor.machine_facts import DiskFacts, Facts, HostFacts, Package, Process, SoftwareFacts
from benches.doctor.nvml import probe_nvidia
from kernels import interpreter
from kernels.guard import ROOT

RUNS = ROOT / "runs"
WATCH_S = 0.5  # how long other processes are watched
BUSY_SHARE = 0.2  # of a core: less disturbs nothing that the sampler would notice
BUSY_LISTED = 3
FSYNCS = 9
UNLIMITED_BYTES = 2**60  # cgroup v1 says "no limit" by a number near 2^63


def probe(runs: Path = RUNS) -> Facts:
    """Takes a few seconds: importing torch, and watching other processes for half of one."""
    return Facts(probe_nvidia(), probe_software(), probe_host(), probe_disk(runs))


def attempt(question: Callable[[], Any]) -> Any:
    """The answer, or None where this system does not give one."""
    try:
        return question()
    except (OSError, ValueError, IndexError, AttributeError, ArithmeticError, NotImplementedError, psutil.Error):
        return None


def probe_software(project: Path = ROOT / "pyproject.toml") -> SoftwareFacts:
    """Imports torch: only it knows what CUDA it was built with and whether that finds a device."""
    error, cuda, available, fp8, uuids = None, None, None, None, None
    try:
        torch: Any = importlib.import_module("torch")
        cuda, available, fp8 = torch.version.cuda, bool(torch.cuda.is_available()), hasattr(torch, "float8_e4m3fn")
        uuids = cuda_uuids(torch) if available else None
    except Exception as e:  # a broken installation raises whatever its libraries raise
        error = f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"
    return SoftwareFacts(
        python=platform.python_version(),
        packages=packages(project),
        torch_error=error,
        torch_cuda=cuda,
        cuda_available=available,
        fp8=fp8,
        interpret=interpreter.setting(),
        visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
        cuda_uuids=uuids,
        missing_compiler=missing_for_cuda() if available else missing_for_cpu(),
    )


def cuda_uuids(torch: Any) -> tuple[str, ...] | None:
    """Those of the devices that torch finds, which CUDA_VISIBLE_DEVICES has chosen and ordered; None where it cannot tell."""
    try:
        return tuple(str(torch.cuda.get_device_properties(i).uuid) for i in range(torch.cuda.device_count()))
    except (RuntimeError, AttributeError):  # a board that does not answer, or a torch that does not give UUIDs
        return None


def packages(project: Path) -> tuple[Package, ...]:
    """Runtime dependencies that pyproject.toml names for this system, beside what is installed."""
    listed = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    needed = [need for need in map(Requirement, listed) if need.marker is None or need.marker.evaluate()]
    return tuple(package(need) for need in needed)


def package(need: Requirement) -> Package:
    try:
        version = importlib.metadata.version(need.name)
    except importlib.metadata.PackageNotFoundError:
        return Package(need.name, None, str(need.specifier), False)
    return Package(need.name, version, str(need.specifier), need.specifier.contains(version, prereleases=True))


def probe_host() -> HostFacts:
    memory = attempt(psutil.virtual_memory)
    return HostFacts(
        cpu_model=attempt(_cpu_model) or platform.processor() or platform.machine() or None,
        physical_cores=psutil.cpu_count(logical=False),
        logical_cores=psutil.cpu_count(),
        allowed_cores=usable_cores(),
        quota_cores=quota_cores(),
        threads_problem=threads_problem(),
        governor=read(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        load_1min=attempt(lambda: os.getloadavg()[0]),
        busy=attempt(busy_processes),
        memory_total_bytes=memory.total if memory else None,
        memory_available_bytes=memory.available if memory else None,
        memory_limit_bytes=memory_limit(),
        clock_source=read(Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")),
        clock_read_s=_clock_read_s(),
    )


def threads_problem() -> str | None:
    """Returns why OMP_NUM_THREADS is not valid, or None."""
    try:
        threads_asked(os.environ.get("OMP_NUM_THREADS"))
    except ThreadsError as error:
        return str(error)
    return None


def _cpu_model() -> str | None:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)


def _clock_read_s(reads: int = 1000) -> float:
    start = time.perf_counter_ns()
    for _ in range(reads):
        time.perf_counter_ns()
    return (time.perf_counter_ns() - start) / reads / 1e9


def busy_processes() -> tuple[Process, ...]:
    """The busiest of the others, by CPU time over WATCH_S."""
    before = {p.pid: (p, _cpu_s(p)) for p in psutil.process_iter() if p.pid != os.getpid()}
    time.sleep(WATCH_S)
    found = []
    for pid, (process, start) in before.items():
        end = _cpu_s(process)
        if start is None or end is None or (end - start) / WATCH_S < BUSY_SHARE:
            continue
        found.append(Process(pid, attempt(process.name), share=(end - start) / WATCH_S))
    return tuple(sorted(found, key=lambda p: -(p.share or 0)))[:BUSY_LISTED]


def _cpu_s(process: psutil.Process) -> float | None:
    times = attempt(process.cpu_times)
    return times.user + times.system if times else None


def memory_limit() -> int | None:
    """Bytes of memory that the container may use."""
    texts = [read(path) or "" for path in cgroup_files("memory.max", "memory", "memory.limit_in_bytes")]
    return min((int(text) for text in texts if text.isdecimal() and int(text) < UNLIMITED_BYTES), default=None)


def probe_disk(folder: Path) -> DiskFacts:
    """Writes and removes a small file there. A folder that is not there yet is judged by the nearest one that is."""
    there = next((p for p in (folder, *folder.resolve().parents) if os.path.exists(p)), folder)
    space = attempt(lambda: psutil.disk_usage(str(there)))
    free, total = (space.free, space.total) if space else (None, None)
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            seconds = [_fsync_s(file.fileno()) for _ in range(FSYNCS)]
    except OSError as error:
        return DiskFacts(str(folder), error.strerror or str(error), free, total)
    return DiskFacts(str(folder), None, free, total, statistics.median(seconds))


def _fsync_s(file: int) -> float:
    start = time.perf_counter()
    os.write(file, b"x" * 2000)
    os.fsync(file)
    return time.perf_counter() - start
