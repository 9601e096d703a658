"""The cores that this process may use, and the number of threads to run on them. Does not import torch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

MOST_THREADS = 8192  # the largest CONFIG_NR_CPUS of Linux (arch/x86/Kconfig)
SYSTEM_CPUS = Path("/sys/devices/system/cpu")
SIBLINGS = ("core_cpus_list", "thread_siblings_list")  # the same thing; the second is the name before Linux 5.3
BINDING = ("OMP_PROC_BIND", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")


class ThreadsError(ValueError):
    """OMP_NUM_THREADS is not a number of threads. The message is one line."""


def cpus_now() -> frozenset[int] | None:
    """The logical CPUs on which the kernel lets this process run; None where it has no such mask (macOS)."""
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


AT_IMPORT = cpus_now()  # with one of BINDING set, importing torch binds the main thread to a single core; this module is imported first


def allowed_cpus(environment: Mapping[str, str] = os.environ) -> frozenset[int] | None:
    """The mask that taskset, a cpuset, Slurm or docker gave this process, even where OpenMP has since narrowed that of the main thread."""
    return AT_IMPORT if any(environment.get(name) for name in BINDING) else cpus_now()


def threads_asked(text: str | None) -> int | None:
    """The first number of OMP_NUM_THREADS, which lists one for each level of nested parallelism; None where it is not set or empty.

    Raises ThreadsError.
    """
    if text is None or not text.strip():
        return None
    numbers = [number.strip() for number in text.split(",")]
    for number in numbers:
        if not re.fullmatch("[0-9]{1,9}", number) or not 1 <= int(number) <= MOST_THREADS:
            of = "" if number == text.strip() else f" in {text!r}"
            raise ThreadsError(f"OMP_NUM_THREADS: {number!r}{of} is not a number of threads from 1 to {MOST_THREADS}; set one, or unset it")
    return int(numbers[0])


def core_count(cpus: Iterable[int], siblings: Mapping[int, str]) -> int:
    """How many physical cores the logical CPUs belong to. siblings: a text by CPU that identifies its core; a CPU
    without one counts as a core."""
    return len({siblings.get(cpu, f"cpu{cpu}") for cpu in cpus})


def siblings_of(cpus: Iterable[int], root: Path = SYSTEM_CPUS) -> dict[int, str]:
    """By CPU, the list of all logical CPUs of its core, as Linux writes it; CPUs for which Linux has no list are left out."""
    found = {}
    for cpu in cpus:
        texts = (read(root / f"cpu{cpu}" / "topology" / name) for name in SIBLINGS)
        if text := next((text for text in texts if text), None):
            found[cpu] = text
    return found


def cpus_of(threads: int, cpus: Iterable[int], root: Path = SYSTEM_CPUS) -> list[int]:
    """The CPUs on which so many threads run at most: one of each core, the lowest, in order. Empty where no mask of CPUs is known."""
    lowest_last = sorted(cpus, reverse=True)
    siblings = siblings_of(lowest_last, root)
    return sorted({siblings.get(cpu, f"cpu{cpu}"): cpu for cpu in lowest_last}.values())[:threads]


def default_threads(cores: int, quota: float | None) -> int:
    """Returns one thread per core, but no more than the CPU quota of a container can keep running: it would stop one after the other."""
    return max(1, cores if quota is None else min(cores, int(quota)))


def usable_cores() -> int:
    """Returns the number of physical cores within the affinity mask."""
    cpus, physical = allowed_cpus(), psutil.cpu_count(logical=False)
    if not cpus:
        return physical or 1
    siblings = siblings_of(cpus)
    return core_count(cpus, siblings) if siblings else min(len(cpus), physical or len(cpus))


def thread_count() -> int:
    """Returns the number of threads to run: that of OMP_NUM_THREADS, else `default_threads` of the usable cores. Raises ThreadsError."""
    return threads_asked(os.environ.get("OMP_NUM_THREADS")) or default_threads(usable_cores(), quota_cores())


def read(path: Path) -> str | None:
    """A small file of the system, stripped; None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def cgroup_files(name_v2: str, controller: str, name_v1: str, root: Path = Path("/sys/fs/cgroup")) -> list[Path]:
    """Files that may hold a limit of this process: in its own group or, as seen from inside a container, at the root; v2 or v1."""
    groups = [line.split(":", 2) for line in (read(Path("/proc/self/cgroup")) or "").splitlines() if line.count(":") >= 2]
    paths = [root / name_v2, root / controller / name_v1]
    for _, controllers, path in groups:
        if not controllers:
            paths.append(root / path.lstrip("/") / name_v2)
        elif controller in controllers.split(","):
            paths.append(root / controller / path.lstrip("/") / name_v1)
    return paths


def quota_cores(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """CPU time a second that the container may use, in cores; the smallest of the limits found."""
    found = [_quota(path) for path in cgroup_files("cpu.max", "cpu", "cpu.cfs_quota_us", root)]
    return min((cores for cores in found if cores is not None), default=None)


def _quota(path: Path) -> float | None:
    """v2 holds "quota period" in one file, v1 the period beside it; "max" and -1 mean no limit."""
    words = (read(path) or "").split()
    if not words or words[0] in ("max", "-1"):
        return None
    period = words[1] if len(words) > 1 else read(path.with_name("cpu.cfs_period_us"))
    try:
        return int(words[0]) / int(period or "")
    except (ValueError, ZeroDivisionError):
        return None
