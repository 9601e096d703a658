"""What doctor says about made-up machines: a table of facts, level by level."""

from __future__ import annotations

import ast
import tomllib
from dataclasses import replace
from typing import Any

import pytest
from packaging.requirements import Requirement

from benches.devices.toolchain import Missing
from benches.doctor.machine_facts import DiskFacts, Facts, Finding, GpuFacts, HostFacts, NvidiaFacts, Package, Process, SoftwareFacts
from benches.doctor.rules import JUDGING, PAGE, can_measure, judge
from benches.doctor.visible import visible_gpus
from kernels.guard import ROOT

BOARD = GpuFacts(
    index=0,
    name="NVIDIA H100 80GB HBM3",
    config="h100_sxm5",
    quoted_clock_hz=1.83e9,
    uuid="GPU-1",
    capability=(9, 0),
    sm_clock_hz=1.755e9,
    sm_clock_max_hz=1.98e9,
    application_clock_hz=1.98e9,
    memory_clock_hz=2.619e9,
    memory_clock_max_hz=2.619e9,
    power_w=70,
    power_cap_w=700,
    power_default_w=700,
    power_max_w=700,
    persistence=True,
    ecc=True,
    mig=False,
    processes=(),
    memory_used_bytes=600_000_000,
    memory_total_bytes=85_000_000_000,
    utilisation=0.0,
    pcie_generation=5,
    pcie_generation_max=5,
    pcie_width=16,
    pcie_width_max=16,
    temperature_c=34,
    slowdown_c=87,
    clock_reasons=("idle", "clock setting"),
    compute_mode="default",
)
NVIDIA = NvidiaFacts(driver="575.57.08", driver_cuda=(13, 0), gpus=(BOARD,), on_pci_bus=1)
PACKAGES = (Package("torch", "2.13.0", ">=2.9", True), Package("triton", "3.7.1", ">=3.5", True))
SOFTWARE = SoftwareFacts("3.11.7", PACKAGES, torch_cuda="13.0", cuda_available=True, fp8=True)
HOST = HostFacts("AMD EPYC 9B14", 48, 96, 96, None, "performance", 0.3, (), 10**12, 9 * 10**11, None, "tsc", 4e-8)
DISK = DiskFacts("runs", None, 10**12, 2 * 10**12, 1e-3)
NODE = Facts(NVIDIA, SOFTWARE, HOST, DISK)
LAPTOP = Facts(
    NvidiaFacts(error="NVML Shared Library Not Found", on_pci_bus=0), replace(SOFTWARE, torch_cuda=None, cuda_available=False), HOST, DISK
)


def board(**changed: Any) -> Facts:
    return replace(NODE, nvidia=replace(NVIDIA, gpus=(replace(BOARD, **changed),)))


def nvidia(**changed: Any) -> Facts:
    return replace(NODE, nvidia=replace(NVIDIA, **changed))


def software(base: Facts = NODE, **changed: Any) -> Facts:
    return replace(base, software=replace(base.software, **changed))


def host(base: Facts = NODE, **changed: Any) -> Facts:
    return replace(base, host=replace(base.host, **changed))


def disk(**changed: Any) -> Facts:
    return replace(NODE, disk=replace(DISK, **changed))


def findings(facts: Facts, key: str) -> list[Finding]:
    return [finding for finding in judge(facts) if finding.key == key]


OTHER = Process(4711, "/usr/bin/python3", 20 * 10**9)
FREE_CLOCK = ("idle",)
LOST = {"nvmlDeviceGetPowerUsage": "GPU is lost"}
OLD_TORCH = (Package("torch", "2.4.0", ">=2.9", False), PACKAGES[1])
OLD_TRITON = (PACKAGES[0], Package("triton", "3.0.0", ">=3.5", False))
NO_SCIPY = (Package("scipy", None, ">=1.13", False),)
NO_PEBBLE = (Package("pebble", None, ">=5", False),)
NEEDS = {"plotly": ">=6", "itables": ">=2.2", "duckdb": ">=1.1", "ruptures": ">=1.1.9"}
BARE = tuple(Package(name, None, needs, False) for name, needs in NEEDS.items())  # what the first H100 lacked, and measured without
NO_TRITON = (PACKAGES[0], Package("triton", None, ">=3.5", False))
NO_CUDA_BUILD = {"torch_cuda": None, "cuda_available": False}

# name: facts, key of the finding, level, a part of its text, a part of what to do
TABLE: dict[str, tuple[Facts, str, str, str, str]] = {
    # boards
    "known board": (NODE, "board", "ok", "configs/gpus/h100_sxm5.yaml", ""),
    "unknown board": (
        board(name="NVIDIA H900", config=None),
        "board",
        "warning",
        "unknown board: no peaks",
        'configs/gpus with boards: ["NVIDIA H900"]',
    ),
    "clock held by a setting": (NODE, "clocks", "ok", "held by a setting", ""),
    "clock held, seen by its standing between": (board(clock_reasons=FREE_CLOCK), "clocks", "ok", "held by a setting", ""),
    "clocks not locked": (
        board(clock_reasons=FREE_CLOCK, sm_clock_hz=345e6),
        "clocks",
        "warning",
        "SM 345 MHz now, 1980 MHz at most, memory 2619 MHz: not locked",
        "sudo nvidia-smi -i 0 -lgc 1830,1830   (undo: -rgc)",
    ),
    "clocks not locked, idle at the highest": (board(clock_reasons=FREE_CLOCK, sm_clock_hz=1.98e9), "clocks", "warning", "not locked", ""),
    "clocks not locked, at work": (board(clock_reasons=(), utilisation=0.9), "clocks", "warning", "not locked", ""),
    "clocks of an unknown board": (
        board(clock_reasons=(), sm_clock_hz=210e6, quoted_clock_hz=None),
        "clocks",
        "warning",
        "not locked",
        "-lgc 1770,1770",
    ),
    "lower application clock": (board(application_clock_hz=1.41e9), "clocks", "ok", "application clock 1410 MHz", ""),
    "power cap at its default": (NODE, "power", "ok", "700 W, the default", ""),
    "power cap lowered": (board(power_cap_w=500), "power", "warning", "500 W, lowered from 700 W", "sudo nvidia-smi -i 0 -pl 700"),
    "power cap raised": (board(power_cap_w=700, power_default_w=600), "power", "note", "raised from 600 W", "-pl 600"),
    "power cap without a default": (board(power_default_w=None), "power", "note", "the default cap is not reported", ""),
    "persistence on": (NODE, "persistence", "ok", "on", ""),
    "persistence off": (board(persistence=False), "persistence", "warning", "persistence mode off", "sudo nvidia-smi -i 0 -pm 1"),
    "ECC on": (NODE, "ecc", "ok", "ECC on", ""),
    "ECC off": (board(ecc=False), "ecc", "warning", "ECC off", "sudo nvidia-smi -i 0 -e 1"),
    "MIG off": (NODE, "mig", "ok", "MIG off", ""),
    "MIG slices on": (
        board(mig=True, mig_slices=("H100 MIG 3g.40gb", "H100 MIG 1g.10gb")),
        "mig",
        "warning",
        "2 slices (H100 MIG 3g.40gb, H100 MIG 1g.10gb): peaks are the whole board's",
        "sudo nvidia-smi -i 0 -mig 0",
    ),
    "MIG without a slice": (board(mig=True), "mig", "blocks", "CUDA finds no device", "-mig 0"),
    "alone on the board": (NODE, "processes", "ok", "no other process", ""),
    "another process on the board": (
        board(processes=(OTHER,)),
        "processes",
        "warning",
        "1 other on it: python3 (pid 4711 20 GB)",
        "ps -fp 4711",
    ),
    "another process on an exclusive board": (
        board(processes=(OTHER,), compute_mode="exclusive process"),
        "processes",
        "blocks",
        "the compute mode admits only one",
        "ps -fp 4711",
    ),
    "a process without a name": (board(processes=(Process(7),)), "processes", "warning", "process (pid 7)", "ps -fp 7"),
    "five processes": (board(processes=(OTHER,) * 5), "processes", "warning", "5 other", ""),
    "a process in another container, at work": (board(utilisation=0.7), "processes", "warning", "70% busy with work of", "nvidia-smi"),
    "a process in another container, idle": (board(memory_used_bytes=30 * 10**9), "processes", "warning", "30 GB held", "nvidia-smi"),
    "compute mode prohibited": (
        board(compute_mode="prohibited"),
        "compute-mode",
        "blocks",
        "prohibited",
        "sudo nvidia-smi -i 0 -c DEFAULT",
    ),
    "compute mode exclusive": (board(compute_mode="exclusive process"), "compute-mode", "note", "second process", "-c DEFAULT"),
    "narrow PCIe": (board(pcie_width=8), "pcie-width", "warning", "x8 of x16", "reseat"),
    "slow PCIe": (board(pcie_generation=1), "pcie-generation", "note", "1 of 5: usual while idle", "pcie.link.gen.current"),
    "cool": (NODE, "temperature", "ok", "34 °C, slows down at 87 °C", ""),
    "hot": (board(temperature_c=85), "temperature", "warning", "85 °C, and it slows down at 87 °C", "airflow"),
    "temperature without a limit": (board(temperature_c=85, slowdown_c=None), "temperature", "ok", "85 °C", ""),
    "thermal throttle": (
        board(clock_reasons=("thermal (hardware)",)),
        "throttling",
        "warning",
        "slowed down now: thermal (hardware)",
        "airflow",
    ),
    "power brake": (board(clock_reasons=("power brake",)), "throttling", "warning", "power brake", "BMC"),
    "at the power cap": (board(clock_reasons=("power cap",)), "throttling", "note", "power cap", ""),
    "an A100 has no fp8": (board(capability=(8, 0)), "fp8", "note", "8.0: fp8 points are unsupported", ""),
    "one query fails": (
        board(power_cap_w=None, errors={"nvmlDeviceGetPowerManagementLimit": "Unknown Error"}),
        "unanswered",
        "note",
        "PowerManagementLimit (Unknown Error)",
        "",
    ),
    "the GPU fell off the bus midway": (board(errors=LOST), "lost", "blocks", "does not answer: GPU is lost", "xid"),
    "a board without permission": (
        nvidia(gpus=(GpuFacts(1, errors={"nvmlDeviceGetHandleByIndex": "Insufficient Permissions"}),)),
        "silent",
        "warning",
        "Insufficient Permissions",
        "nvidia-smi",
    ),
    # driver and Python
    "driver": (NODE, "driver", "ok", "575.57.08, CUDA up to 13.0", ""),
    "no GPU at all": (LAPTOP, "driver", "note", "no GPU", ""),
    "NVML missing though boards are on the bus": (
        replace(software(cuda_available=False), nvidia=NvidiaFacts(error="Driver Not Loaded", on_pci_bus=8)),
        "driver",
        "blocks",
        "8 NVIDIA boards on the PCI bus, but no working driver: Driver Not Loaded",
        "modprobe nvidia",
    ),
    "NVML missing though CUDA works": (
        nvidia(error="NVML Shared Library Not Found", gpus=(), on_pci_bus=None),
        "driver",
        "warning",
        "no clocks, power or throttling",
        "libnvidia-ml",
    ),
    "NVML missing though CUDA works and boards are on the bus": (
        nvidia(error="NVML Shared Library Not Found", gpus=(), on_pci_bus=8),
        "driver",
        "warning",
        "no clocks, power or throttling beside the times, and no throttle detection",
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    ),
    "a driver that sees nothing": (nvidia(gpus=(), on_pci_bus=0), "driver", "note", "sees no GPU", ""),
    "CUDA works": (NODE, "torch", "ok", "CUDA runtime 13.0", ""),
    "a CPU build of torch beside a GPU": (
        software(**NO_CUDA_BUILD),
        "torch",
        "blocks",
        "a CPU build of torch, although this machine has a GPU",
        "pip install",
    ),
    "torch finds no device": (software(cuda_available=False), "torch", "blocks", "finds no device", "torch.cuda.init()"),
    "hidden devices": (
        software(cuda_available=False, visible_devices=""),
        "torch",
        "blocks",
        "finds no device",
        "CUDA_VISIBLE_DEVICES is '': unset it",
    ),
    "a CUDA build without a GPU": (software(LAPTOP, torch_cuda="13.0"), "torch", "note", "finds no device", ""),
    "a driver older than torch's CUDA": (
        replace(software(cuda_available=False), nvidia=replace(NVIDIA, driver_cuda=(12, 2))),
        "torch",
        "blocks",
        "built with CUDA 13.0, the driver runs CUDA up to 12.2",
        "update the driver",
    ),
    "torch broken": (software(torch_error="ImportError: libcudart.so.13"), "torch", "blocks", "libcudart.so.13", "pip install"),
    "chosen devices": (software(visible_devices="3"), "visible-devices", "note", "CUDA_VISIBLE_DEVICES=3", ""),
    "versions": (NODE, "versions", "ok", "torch 2.13.0, triton 3.7.1", ""),
    "old torch": (software(packages=OLD_TORCH), "versions", "warning", "torch 2.4.0 (needs >=2.9)", "pip install --upgrade torch"),
    "old triton": (software(packages=OLD_TRITON), "versions", "warning", "triton 3.0.0 (needs >=3.5)", "pip install --upgrade torch"),
    "no triton": (software(packages=NO_TRITON), "versions", "blocks", "triton is missing", "pip install --upgrade torch"),
    "no pebble": (software(packages=NO_PEBBLE), "versions", "blocks", "pebble is missing", "pip install -r requirements.txt"),
    "no scipy": (
        software(packages=(*PACKAGES, *NO_SCIPY)),
        "reports",
        "warning",
        "scipy is missing (needs >=1.13): rows are measured and kept, but `python -m reports` (compare, nightly …) does not run",
        "pip install -r requirements.txt",
    ),
    "a bare node": (
        software(packages=(*PACKAGES, *BARE)),
        "reports",
        "warning",
        "plotly is missing (needs >=6), itables is missing (needs >=2.2), duckdb is missing (needs >=1.1), ruptures is missing (needs "
        ">=1.1.9): rows are measured and kept, but no report.html is made, and `python -m reports` (compare, nightly …) does not run",
        "pip install -r requirements.txt",
    ),
    "a bare node's versions": (software(packages=(*PACKAGES, *BARE)), "versions", "ok", "required packages match", ""),
    "old pandas": (
        software(packages=(*PACKAGES, Package("pandas", "1.5.3", ">=2.2", False))),
        "reports",
        "warning",
        "pandas 1.5.3 (needs >=2.2): rows are measured and kept, but the page and `python -m reports` may fail",
        "pip install -r requirements.txt",
    ),
    "old torch and no pebble": (
        software(packages=(*OLD_TORCH, *NO_PEBBLE)),
        "versions",
        "blocks",
        "torch 2.4.0 (needs >=2.9), pebble is missing",
        "pip install --upgrade torch   (triton comes with it); pip install -r requirements.txt",
    ),
    "interpreter on a GPU box": (software(interpret="1"), "interpreter", "blocks", "instead of on the GPU", "unset TRITON_INTERPRET"),
    "interpreter without a GPU": (software(LAPTOP, interpret="1"), "interpreter", "ok", "as it should be", ""),
    "no fp8 types": (software(fp8=False), "torch-fp8", "warning", "no fp8 types", "pip install"),
    "no C compiler on a GPU node": (
        software(missing_compiler=Missing("no C compiler", "apt-get install gcc")),
        "compiler",
        "warning",
        "no C compiler: torch_compile and triton points are unsupported",
        "apt-get install gcc",
    ),
    "no C++ compiler on a laptop": (
        software(LAPTOP, missing_compiler=Missing("no C++ compiler", "apt-get install g++")),
        "compiler",
        "warning",
        "no C++ compiler: torch_compile points are unsupported",
        "apt-get install g++",
    ),
    # CPU, memory, clock
    "CPU": (LAPTOP, "cpu", "ok", "AMD EPYC 9B14, 48 cores, 96 threads", ""),
    "cgroup limit below the cores": (
        host(LAPTOP, quota_cores=4.0),
        "cores",
        "warning",
        "the container may use 4 of 48 cores",
        "docker run --cpus=48",
    ),
    "cgroup limit on a GPU box": (host(quota_cores=4.0), "cores", "note", "4 of 48", ""),
    "one core for a GPU": (host(quota_cores=1.0), "cores", "warning", "1 of 48", ""),
    "no number of threads": (host(LAPTOP, threads_problem="OMP_NUM_THREADS: 'x'"), "threads", "blocks", "'x'", "unset OMP_NUM_THREADS"),
    "no number of threads beside a GPU": (host(threads_problem="OMP_NUM_THREADS: 'x'"), "threads", "note", "'x'", ""),
    "taskset": (host(LAPTOP, allowed_cores=2), "cores", "warning", "may run on 2 of 48 cores", "without taskset"),
    "governor of a laptop": (
        host(LAPTOP, governor="powersave"),
        "governor",
        "warning",
        "powersave",
        "cpupower frequency-set -g performance",
    ),
    "governor of a node": (host(governor="schedutil"), "governor", "note", "schedutil", "cpupower"),
    "busy CPU": (
        host(busy=(Process(99, "cc1plus", share=0.98),), load_1min=5.0),
        "busy",
        "warning",
        "cc1plus (pid 99, 98% of a core); 1-minute load 5.00",
        "ps -fp 99",
    ),
    "busy a moment ago": (host(load_1min=60.0), "busy", "note", "load 60.00", "uptime"),
    "idle CPU": (NODE, "busy", "ok", "no busy process", ""),
    "little memory": (host(memory_available_bytes=2 * 10**9), "memory", "warning", "2 GB of memory", "container's limit"),
    "little memory for the container": (
        host(memory_limit_bytes=10**9),
        "memory",
        "warning",
        "1 GB of memory available, the container's",
        "",
    ),
    "slow clock": (host(clock_source="hpet"), "clock", "warning", "time from hpet", "current_clocksource"),
    "slow readings": (host(clock_read_s=3e-6), "clock", "warning", "3000 ns a reading", ""),
    # disk
    "read-only runs": (disk(error="Read-only file system"), "writable", "blocks", "Read-only file system", "--run-dir DIR"),
    "nearly full disk": (disk(free_bytes=10**9), "space", "warning", "1 GB free", "make room"),
    "full disk": (disk(free_bytes=10**7), "space", "blocks", "0.01 GB free", "make room"),
    "slow disk": (disk(fsync_s=0.2), "fsync", "warning", "200 ms", "local disk"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", TABLE)
def test_table(case: str) -> None:
    facts, key, level, text, do = TABLE[case]
    (finding,) = findings(facts, key)
    assert finding.level == level, finding
    assert text in finding.text
    assert do in finding.do
    assert bool(finding.do) >= (level == "warning"), "a warning says what to do"
    assert can_measure(judge(facts)) == (not any(f.level == "blocks" for f in judge(facts)))


def test_a_good_node_and_a_laptop_have_nothing_to_mend() -> None:
    assert {finding.level for finding in judge(NODE)} == {"ok"}
    assert {finding.level for finding in judge(LAPTOP)} == {"ok", "note"}


def test_a_machine_that_tells_nothing_is_not_judged() -> None:
    assert {finding.level for finding in judge(Facts(nvidia=NvidiaFacts(gpus=(GpuFacts(0),))))} == {"ok"}
    assert can_measure(judge(Facts()))


def test_each_board_is_judged_by_itself() -> None:
    two = nvidia(gpus=(BOARD, replace(BOARD, index=1, persistence=False)))
    assert [(f.where, f.level) for f in findings(two, "persistence")] == [("GPU 0", "ok"), ("GPU 1", "warning")]
    assert findings(two, "persistence")[1].do == "sudo nvidia-smi -i 1 -pm 1"


def test_a_node_without_what_the_page_needs_can_measure() -> None:
    assert can_measure(judge(software(packages=(*PACKAGES, *BARE))))


def imported(*places: str) -> set[str]:
    """Top-level names that the Python files of these places import, anywhere in them."""
    found = set()
    files = [path for place in places for path in ([ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*.py"))]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found


MODULES = {"nvidia-ml-py": "pynvml", "pyyaml": "yaml"}  # by package, where the names differ


@pytest.mark.slow
def test_what_only_reports_need_is_what_measuring_does_not_import() -> None:
    """pytest-benchmark is a plugin, which pytest loads by itself."""
    measuring = imported("benches", "kernels", "conftest.py")
    needed = {
        Requirement(one).name for one in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    }
    assert needed - {*PAGE, *JUDGING} == {name for name in needed if MODULES.get(name, name) in measuring} | {"pytest-benchmark"}
    assert {*PAGE, *JUDGING} <= needed


HEX = "39f45818-0ae5-8ab4-5e11-1a4c57c11be"
EIGHT = tuple(replace(BOARD, index=i, uuid=f"GPU-{HEX}{i}") for i in range(8))
SLICED = (EIGHT[0], replace(EIGHT[1], mig=True, mig_slices=("H100 MIG 3g.40gb",), mig_uuids=(f"MIG-{HEX}9",)))


@pytest.mark.parametrize(
    ("gpus", "changed", "judged"),
    [
        (EIGHT, {}, [*range(8)]),
        (EIGHT, {"visible_devices": "0"}, [0]),
        (EIGHT, {"visible_devices": "6, 2"}, [6, 2]),
        (EIGHT, {"visible_devices": "1,1"}, [1]),
        (EIGHT, {"visible_devices": "1,8,2"}, [1]),  # CUDA stops at the first that is none
        (EIGHT, {"visible_devices": "1,-1,2"}, [1]),
        (EIGHT, {"visible_devices": ""}, []),
        (EIGHT, {"visible_devices": "NoDevFiles"}, []),
        (EIGHT, {"visible_devices": f"GPU-{HEX}5"}, [5]),
        (EIGHT, {"visible_devices": f"GPU-{HEX}5,GPU-{HEX}3"}, [5, 3]),
        (SLICED, {"visible_devices": f"MIG-{HEX}9"}, [1]),
        # What torch finds is what counts: it may number the boards in another order.
        (EIGHT, {"visible_devices": "0", "cuda_uuids": (f"{HEX}4",)}, [4]),
        (EIGHT, {"cuda_uuids": (f"{HEX}4", f"{HEX}1")}, [1, 4]),
        (SLICED, {"visible_devices": "1", "cuda_uuids": (f"{HEX}9",)}, [1]),
        ((replace(BOARD, uuid=None),), {"cuda_uuids": (HEX,)}, [0]),  # nothing to tell boards apart by
    ],
)
def test_only_boards_that_a_run_may_use_are_judged(gpus: tuple[GpuFacts, ...], changed: dict[str, Any], judged: list[int]) -> None:
    facts = replace(software(**changed), nvidia=replace(NVIDIA, gpus=tuple(replace(gpu, persistence=False) for gpu in gpus)))
    assert [gpu.index for gpu in visible_gpus(facts)] == judged
    assert {finding.where for finding in findings(facts, "persistence")} == {f"GPU {i}" for i in judged}
    left = len(gpus) - len(judged)
    for note in findings(facts, "visible-devices"):
        assert (f"{left} other board" in note.text) == bool(left)


def test_any_one_fact_may_be_missing() -> None:
    """No rule relies on a fact that a machine need not tell."""
    for part in ("nvidia", "software", "host", "disk"):
        whole = getattr(NODE, part)
        for name, default in ((n, f.default) for n, f in whole.__dataclass_fields__.items()):
            if default is None:
                assert judge(replace(NODE, **{part: replace(whole, **{name: None})})), f"{part}.{name}"
    for name, field in GpuFacts.__dataclass_fields__.items():
        if field.default is None:
            assert judge(board(**{name: None})), name
