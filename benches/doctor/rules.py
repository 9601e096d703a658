"""All findings about a machine, and the rules about everything but the boards: driver, Python, CPU, memory, disk. A rule makes a finding of
facts, or returns None where nothing is known."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from benches.doctor.gpu_rules import gpu_findings
from benches.doctor.machine_facts import Facts, Finding, Level, Package
from benches.doctor.visible import visible_gpus
from benches.units import gigabytes
from kernels.interpreter import VARIABLE, is_on

INSTALL = "pip install -r requirements.txt"
CORE = ("torch", "triton")  # shown whatever their version; requirements.txt leaves them to the node
# What only `reports/` imports: points are measured and journalled without it. A test holds both lists to the imports of the tree.
PAGE = ("pandas", "pyarrow", "plotly", "itables", "jinja2")
JUDGING = ("scipy", "duckdb", "ruptures")
UPGRADE_TORCH = "pip install --upgrade torch   (triton comes with it)"
REINSTALL_TORCH = "pip install --force-reinstall torch"
BLOCKING_FREE_BYTES = 100e6
LOW_FREE_BYTES = 2e9  # 10,000 points with their samples and the page are about half a gigabyte
SLOW_FSYNC_S = 0.05  # a point would wait for its journal line longer than it takes to measure
LOW_MEMORY_BYTES = 4e9
HIGH_LOAD = 0.25  # of the cores
SLOW_CLOCK_READ_S = 1e-6
TSC_LIKE = ("tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page")
FAST_GOVERNORS = ("performance",)


def driver(facts: Facts) -> Finding | None:
    nvidia = facts.nvidia
    if nvidia.error is None:
        if not nvidia.gpus:
            return Finding("note", "driver", "driver", f"driver {nvidia.driver or '(version unknown)'} sees no GPU", visible_hint(facts))
        newest = f", CUDA up to {nvidia.driver_cuda[0]}.{nvidia.driver_cuda[1]}" if nvidia.driver_cuda else ""
        return Finding("ok", "driver", "driver", f"driver {nvidia.driver or '(version unknown)'}{newest}")
    if facts.software.cuda_available:
        text = f"NVML missing ({nvidia.error}): no clocks, power or throttling beside the times, and no throttle detection"
        return Finding(
            "warning",
            "driver",
            "driver",
            text,
            "install the driver's libnvidia-ml; in a container, NVIDIA_DRIVER_CAPABILITIES=compute,utility",
        )
    if nvidia.on_pci_bus:
        text = f"{nvidia.on_pci_bus} NVIDIA boards on the PCI bus, but no working driver: {nvidia.error}"
        do = "install or load the driver (sudo modprobe nvidia); in a container, start it with --gpus all"
        return Finding("blocks", "driver", "driver", text, do)
    return Finding(
        "note", "driver", "driver", f"no GPU ({nvidia.error}): PyTorch is measured on the CPU, Triton checked in its interpreter"
    )


def visible_hint(facts: Facts) -> str:
    visible = facts.software.visible_devices
    return "" if visible is None else f"CUDA_VISIBLE_DEVICES is {visible!r}: unset it"


def torch_cuda(facts: Facts) -> Finding | None:
    software = facts.software
    if software.torch_error is not None:
        return Finding("blocks", "torch", "torch", f"cannot be imported: {software.torch_error}", REINSTALL_TORCH)
    has_gpu = bool(facts.nvidia.gpus or facts.nvidia.on_pci_bus)
    if software.torch_cuda is None:
        if not has_gpu or software.cuda_available is None:
            return None
        text = "a CPU build of torch, although this machine has a GPU: nothing can be measured on it"
        return Finding("blocks", "torch", "torch", text, REINSTALL_TORCH)
    newest = facts.nvidia.driver_cuda
    if newest is not None and int(software.torch_cuda.split(".")[0]) > newest[0]:
        text = f"torch was built with CUDA {software.torch_cuda}, the driver runs CUDA up to {newest[0]}.{newest[1]}"
        return Finding("blocks", "torch", "torch", text, f"update the driver, or install a torch for CUDA {newest[0]}")
    if not software.cuda_available:
        level: Level = "blocks" if has_gpu else "note"
        do = visible_hint(facts) or ("python -c 'import torch; torch.cuda.init()' shows why" if has_gpu else "")
        return Finding(level, "torch", "torch", f"built with CUDA {software.torch_cuda}, but finds no device", do)
    return Finding("ok", "torch", "torch", f"CUDA runtime {software.torch_cuda} finds a device")


def visible(facts: Facts) -> Finding | None:
    chosen = facts.software.visible_devices
    if chosen is None or not facts.nvidia.gpus:
        return None
    others = len(facts.nvidia.gpus) - len(visible_gpus(facts))
    unjudged = f"; {others} other {'board is' if others == 1 else 'boards are'} not judged" if others else ""
    return Finding("note", "visible-devices", "torch", f"CUDA_VISIBLE_DEVICES={chosen}: only these GPUs are measured{unjudged}")


def versions(facts: Facts) -> Finding | None:
    """Of the packages that measuring needs."""
    wrong = [p for p in facts.software.packages if not p.fits and p.name not in (*PAGE, *JUDGING)]
    if wrong:
        level: Level = "blocks" if any(p.installed is None for p in wrong) else "warning"  # an old one may still do most of it
        remedies = dict.fromkeys(UPGRADE_TORCH if p.name in CORE else INSTALL for p in wrong)
        return Finding(level, "versions", "packages", _listed(wrong), "; ".join(remedies))
    shown = [f"{p.name} {p.installed}" for p in facts.software.packages if p.name in CORE]
    return Finding("ok", "versions", "packages", f"{', '.join(shown)}; required packages match pyproject.toml") if shown else None


def reporting(facts: Facts) -> Finding | None:
    """Of the packages that only reports need: without them a node measures, and another machine can make the page from its rows."""
    wrong = [p for p in facts.software.packages if not p.fits and p.name in (*PAGE, *JUDGING)]
    if not wrong:
        return None
    missing = [p.name for p in wrong if p.installed is None]
    page = "no report.html is made, and " if any(name in PAGE for name in missing) else ""
    lost = f"{page}`python -m reports` (compare, nightly …) does not run" if missing else "the page and `python -m reports` may fail"
    return Finding("warning", "reports", "packages", f"{_listed(wrong)}: rows are measured and kept, but {lost}", INSTALL)


def _listed(wrong: Sequence[Package]) -> str:
    return ", ".join(f"{p.name} {p.installed or 'is missing'} (needs {p.needs})" for p in wrong)


def interpreter(facts: Facts) -> Finding | None:
    value = facts.software.interpret
    if not is_on(value):
        return None
    if facts.nvidia.gpus:
        text = f"{VARIABLE}={value}: Triton kernels would run in Python instead of on the GPU"
        return Finding("blocks", "interpreter", "triton", text, f"unset {VARIABLE}")
    return Finding("ok", "interpreter", "triton", f"{VARIABLE}={value}, as it should be without a GPU")


def torch_fp8(facts: Facts) -> Finding | None:
    if facts.software.fp8 is False:
        return Finding("warning", "torch-fp8", "torch", "has no fp8 types: fp8 points end in errors", UPGRADE_TORCH)
    return None


def compiler(facts: Facts) -> Finding | None:
    missing = facts.software.missing_compiler
    if missing is None:
        return None
    points = "torch_compile and triton points" if facts.software.cuda_available else "torch_compile points"
    return Finding("warning", "compiler", "compiler", f"{missing.what}: {points} are unsupported", missing.do)


def cpu(facts: Facts) -> Finding | None:
    host = facts.host
    if host.cpu_model is None and host.physical_cores is None:
        return None
    threads = f", {host.logical_cores} threads" if host.logical_cores else ""
    return Finding("ok", "cpu", "CPU", f"{host.cpu_model or 'CPU'}, {host.physical_cores or '?'} cores{threads}")


def cores(facts: Facts) -> Finding | None:
    """PyTorch runs a thread for each physical core that it may use: with fewer cores than the machine has, times are not the machine's."""
    host = facts.host
    if host.physical_cores is None:
        return None
    limits = {"this process may run on": host.allowed_cores, "the container may use": host.quota_cores}
    for words, limit in limits.items():
        if limit is not None and limit < host.physical_cores:
            level: Level = "note" if facts.nvidia.gpus and limit >= 2 else "warning"
            text = (
                f"{words} {limit:g} of {host.physical_cores} cores: PyTorch uses no more threads, so CPU times are not the whole machine's"
            )
            do = (
                f"docker run --cpus={host.physical_cores}, or the limits of the pod"
                if words.startswith("the")
                else "start it without taskset"
            )
            return Finding(level, "cores", "CPU", text, do)
    return None


def threads(facts: Facts) -> Finding | None:
    problem = facts.host.threads_problem
    if problem is None:
        return None
    level: Level = "note" if facts.nvidia.gpus else "blocks"
    return Finding(level, "threads", "CPU", problem, "unset OMP_NUM_THREADS")


def governor(facts: Facts) -> Finding | None:
    name = facts.host.governor
    if name is None:
        return None
    if name in FAST_GOVERNORS:
        return Finding("ok", "governor", "CPU", f"governor {name}")
    level: Level = "note" if facts.nvidia.gpus else "warning"
    return Finding(level, "governor", "CPU", f"governor {name}: the clock follows the load", "sudo cpupower frequency-set -g performance")


def busy(facts: Facts) -> Finding | None:
    host = facts.host
    if host.busy:
        listed = ", ".join(f"{p.name or 'process'} (pid {p.pid}, {p.share or 0:.0%} of a core)" for p in host.busy)
        do = f"wait for them or stop them: ps -fp {','.join(str(p.pid) for p in host.busy)}"
        return Finding("warning", "busy", "CPU", f"busy with {listed}; 1-minute load {_load(host.load_1min)}", do)
    if host.load_1min is not None and host.logical_cores and host.load_1min > HIGH_LOAD * host.logical_cores:
        text = f"1-minute load {_load(host.load_1min)}: it was busy a moment ago, or others share the machine"
        return Finding("note", "busy", "CPU", text, "wait until `uptime` shows less")
    return None if host.busy is None else Finding("ok", "busy", "CPU", f"no busy process; 1-minute load {_load(host.load_1min)}")


def _load(load: float | None) -> str:
    return "not known" if load is None else f"{load:.2f}"


def memory(facts: Facts) -> Finding | None:
    host = facts.host
    if host.memory_available_bytes is None:
        return None
    usable = min(host.memory_available_bytes, host.memory_limit_bytes or host.memory_available_bytes)
    limited = ", the container's limit" if host.memory_limit_bytes == usable else ""
    text = f"{gigabytes(usable)} of memory available{limited}"
    if usable < LOW_MEMORY_BYTES:
        return Finding("warning", "memory", "memory", f"{text}: large points will end as oom", "free some, or raise the container's limit")
    return Finding("ok", "memory", "memory", text)


def clock(facts: Facts) -> Finding | None:
    source, read_s = facts.host.clock_source, facts.host.clock_read_s
    if read_s is None:
        return None
    text = f"time from {source or 'an unknown source'}, {read_s * 1e9:.0f} ns a reading"
    if read_s > SLOW_CLOCK_READ_S or (source is not None and source not in TSC_LIKE):
        do = "echo tsc | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource"
        return Finding("warning", "clock", "clock", f"{text}: this is added to the times of short CPU kernels", do)
    return Finding("ok", "clock", "clock", text)


def writable(facts: Facts) -> Finding | None:
    disk = facts.disk
    if disk.error is None:
        return None
    return Finding("blocks", "writable", "disk", f"{disk.folder}: cannot be written: {disk.error}", "name another place: --run-dir DIR")


def space(facts: Facts) -> Finding | None:
    disk = facts.disk
    if disk.free_bytes is None:
        return None
    text = f"{gigabytes(disk.free_bytes)} free for {disk.folder}"
    if disk.free_bytes < LOW_FREE_BYTES:
        level: Level = "blocks" if disk.free_bytes < BLOCKING_FREE_BYTES else "warning"
        return Finding(
            level, "space", "disk", f"{text}: a long run may fill it", f"make room (du -sh {shlex.quote(disk.folder)}/*), or --run-dir DIR"
        )
    return Finding("ok", "space", "disk", text)


def fsync(facts: Facts) -> Finding | None:
    seconds = facts.disk.fsync_s
    if seconds is None:
        return None
    if seconds > SLOW_FSYNC_S:
        text = f"{seconds * 1e3:.0f} ms to write a line to the disk, after every point"
        return Finding("warning", "fsync", "disk", text, "--run-dir on a local disk instead of a network one")
    return Finding("ok", "fsync", "disk", f"{seconds * 1e3:.2g} ms to write a line to the disk")


RULES: tuple[Callable[[Facts], Finding | None], ...] = (
    *(driver, torch_cuda, visible, versions, reporting, interpreter, torch_fp8, compiler),
    *(cpu, cores, threads, governor, busy, memory, clock, writable, space, fsync),
)


def judge(facts: Facts) -> list[Finding]:
    """Returns the findings: first those of the boards that a run would use, then the rest, each in the order of its rules."""
    return [finding for gpu in visible_gpus(facts) for finding in gpu_findings(gpu)] + [
        finding for rule in RULES if (finding := rule(facts)) is not None
    ]


def can_measure(findings: Sequence[Finding]) -> bool:
    """Whether no finding blocks."""
    return not any(finding.level == "blocks" for finding in findings)
