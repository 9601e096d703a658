"""Rules about one board: GpuFacts to a finding, or None where the board does not tell. The commands are nvidia-smi's."""

from __future__ import annotations

from collections.abc import Callable

from benches.doctor.machine_facts import Finding, GpuFacts, Level, Process
from benches.units import gigabytes, megahertz
from kernels.support import FP8_FROM

CLOCK_STEP_HZ = 15e6  # in which NVIDIA's boards set the SM clock
SUSTAINED = 0.9  # of the highest clock: what is proposed for a board whose quoted clock is not known
LOCKED_BETWEEN = (0.5, 0.985)  # of the highest clock: an idle board stands at its lowest or highest unless it is held in between
UNEXPLAINED_BYTES = 2e9  # on a board without a process; the driver itself takes up to about 1 GB
SHOWN_PROCESSES = 3
SLOWDOWNS = {
    "thermal (software)": "let it cool and look at the airflow: nvidia-smi -q -d TEMPERATURE,PERFORMANCE",
    "thermal (hardware)": "let it cool and look at the airflow: nvidia-smi -q -d TEMPERATURE,PERFORMANCE",
    "hardware slowdown": "heat or power supply: nvidia-smi -q -d PERFORMANCE,TEMPERATURE,POWER",
    "power brake": "the server's power supply makes the board draw less: look at its power budget in the BMC",
}
NEAR_SLOWDOWN_C = 5.0


def gpu_findings(gpu: GpuFacts) -> list[Finding]:
    """A board that does not answer gets a single finding: the rest would only repeat it."""
    lost = lost_board(gpu)
    if lost:
        return [lost]
    return [finding for rule in RULES if (finding := rule(gpu)) is not None]


def _finding(gpu: GpuFacts, level: Level, key: str, text: str, do: str = "") -> Finding:
    return Finding(level, key, f"GPU {gpu.index}", text, do)


def smi(gpu: GpuFacts, arguments: str) -> str:
    return f"sudo nvidia-smi -i {gpu.index} {arguments}"


def lost_board(gpu: GpuFacts) -> Finding | None:
    answers = [answer for answer in gpu.errors.values() if "lost" in answer.lower() or "reset" in answer.lower()]
    if answers:
        return _finding(gpu, "blocks", "lost", f"does not answer: {answers[0]}", "look at `sudo dmesg | grep -i xid`, then reboot")
    if gpu.name is None and gpu.uuid is None and gpu.errors:
        query, answer = next(iter(gpu.errors.items()))
        return _finding(gpu, "warning", "silent", f"reports nothing ({query}: {answer})", "check that `nvidia-smi` works for this user")
    return None


def board(gpu: GpuFacts) -> Finding | None:
    if gpu.name is None:
        return None
    if gpu.config is None:
        do = f'add a YAML to configs/gpus with boards: ["{gpu.name}"] and the sources of its figures'
        return _finding(gpu, "warning", "board", f"{gpu.name}: unknown board: no peaks, so no MFU against its own and no prediction", do)
    return _finding(gpu, "ok", "board", f"{gpu.name}, configs/gpus/{gpu.config}.yaml")


def clocks(gpu: GpuFacts) -> Finding | None:
    """NVML has no query for `-lgc`; what shows it is a clock that the board would not choose by itself."""
    highest = gpu.sm_clock_max_hz
    if highest is None:
        return None
    now = f"SM {megahertz(gpu.sm_clock_hz)} now, " if gpu.sm_clock_hz is not None else "SM "
    memory = f", memory {megahertz(gpu.memory_clock_hz)}" if gpu.memory_clock_hz is not None else ""
    text = f"{now}{megahertz(highest)} at most{memory}"
    if gpu.application_clock_hz is not None and gpu.application_clock_hz < highest:
        text += f", application clock {megahertz(gpu.application_clock_hz)}"
    if held(gpu):
        return _finding(gpu, "ok", "clocks", f"{text}: held by a setting")
    proposed = int((gpu.quoted_clock_hz or SUSTAINED * highest) // CLOCK_STEP_HZ * CLOCK_STEP_HZ / 1e6)
    do = f"{smi(gpu, f'-lgc {proposed},{proposed}')}   (undo: -rgc)"
    return _finding(gpu, "warning", "clocks", f"{text}: not locked, so measured times vary with temperature and power", do)


def held(gpu: GpuFacts) -> bool:
    """Whether something keeps the clock where it is."""
    if "clock setting" in (gpu.clock_reasons or ()):
        return True
    if not gpu.sm_clock_hz or not gpu.sm_clock_max_hz or gpu.utilisation != 0:
        return False
    low, high = LOCKED_BETWEEN
    return low <= gpu.sm_clock_hz / gpu.sm_clock_max_hz <= high


def power(gpu: GpuFacts) -> Finding | None:
    cap, default = gpu.power_cap_w, gpu.power_default_w
    if cap is None:
        return None
    most = f", {gpu.power_max_w:.0f} W at most" if gpu.power_max_w is not None else ""
    if default is not None and cap < default - 1:
        text = f"power cap {cap:.0f} W, lowered from {default:.0f} W: long matmuls clock lower than on other boards"
        return _finding(gpu, "warning", "power", text, smi(gpu, f"-pl {default:.0f}"))
    if default is None:
        return _finding(gpu, "note", "power", f"power cap {cap:.0f} W{most}; the default cap is not reported")
    if cap > default + 1:
        text = f"power cap {cap:.0f} W, raised from {default:.0f} W: long matmuls clock higher than on other boards"
        return _finding(gpu, "note", "power", text, smi(gpu, f"-pl {default:.0f}"))
    return _finding(gpu, "ok", "power", f"power cap {cap:.0f} W, the default{most}")


def persistence(gpu: GpuFacts) -> Finding | None:
    if gpu.persistence is None:
        return None
    if gpu.persistence:
        return _finding(gpu, "ok", "persistence", "persistence mode on")
    text = "persistence mode off: the driver unloads between processes, and clock settings are lost with it"
    return _finding(gpu, "warning", "persistence", text, smi(gpu, "-pm 1"))


def ecc(gpu: GpuFacts) -> Finding | None:
    if gpu.ecc is None:
        return None
    if gpu.ecc:
        return _finding(gpu, "ok", "ecc", "ECC on")
    text = "ECC off: memory errors go unnoticed, and results are not comparable with boards that have it on"
    return _finding(gpu, "warning", "ecc", text, f"{smi(gpu, '-e 1')} && sudo reboot")


def mig(gpu: GpuFacts) -> Finding | None:
    if gpu.mig is None:
        return None
    if not gpu.mig:
        return _finding(gpu, "ok", "mig", "MIG off")
    off = f"{smi(gpu, '-mig 0')}   (after its slices' jobs have ended)"
    if not gpu.mig_slices:
        return _finding(
            gpu, "blocks", "mig", "MIG on without a slice: CUDA finds no device", f"{off}, or make a slice: nvidia-smi mig -cgi"
        )
    listed = ", ".join(gpu.mig_slices)
    text = (
        f"MIG on, {len(gpu.mig_slices)} slices ({listed}): peaks are the whole board's, so a slice is measured without peaks, "
        "physics check or throttle detection"
    )
    return _finding(gpu, "warning", "mig", text, off)


def processes(gpu: GpuFacts) -> Finding | None:
    if gpu.processes:
        listed = ", ".join(map(_shown, gpu.processes[:SHOWN_PROCESSES])) + (", …" if len(gpu.processes) > SHOWN_PROCESSES else "")
        do = f"wait for it or stop it: ps -fp {','.join(str(p.pid) for p in gpu.processes[:SHOWN_PROCESSES])}"
        level: Level = "blocks" if gpu.compute_mode == "exclusive process" else "warning"
        taken = "; the compute mode admits only one" if level == "blocks" else ""
        return _finding(gpu, level, "processes", f"{len(gpu.processes)} other on it: {listed}{taken}", do)
    if gpu.utilisation:
        text = f"{gpu.utilisation:.0%} busy with work of a process that this one cannot see"
        return _finding(gpu, "warning", "processes", text, "look for it outside this container: nvidia-smi")
    if gpu.memory_used_bytes is not None and gpu.memory_used_bytes > UNEXPLAINED_BYTES:
        text = f"{gigabytes(gpu.memory_used_bytes)} held by a process that this one cannot see"
        return _finding(gpu, "warning", "processes", text, "look for it outside this container: nvidia-smi")
    return None if gpu.processes is None else _finding(gpu, "ok", "processes", "no other process uses it")


def _shown(process: Process) -> str:
    held_bytes = f" {gigabytes(process.memory_bytes)}" if process.memory_bytes else ""
    return f"{(process.name or '').rsplit('/', 1)[-1] or 'process'} (pid {process.pid}{held_bytes})"


def compute_mode(gpu: GpuFacts) -> Finding | None:
    if gpu.compute_mode is None:
        return None
    if gpu.compute_mode == "prohibited":
        return _finding(gpu, "blocks", "compute-mode", "compute mode prohibited: no process may use it", smi(gpu, "-c DEFAULT"))
    if gpu.compute_mode == "default":
        return _finding(gpu, "ok", "compute-mode", "compute mode default")
    text = f"compute mode {gpu.compute_mode}: a second process is refused"
    return _finding(gpu, "note", "compute-mode", text, f"if a worker cannot start: {smi(gpu, '-c DEFAULT')}")


def pcie_width(gpu: GpuFacts) -> Finding | None:
    now, most = gpu.pcie_width, gpu.pcie_width_max
    if now is None or most is None:
        return None
    if now < most:
        text = f"PCIe x{now} of x{most}: a lane or the riser is bad; copies from the host are slow, kernels are not"
        return _finding(gpu, "warning", "pcie-width", text, "reseat the board or its riser; see nvidia-smi -q -d PERFORMANCE and dmesg")
    return _finding(gpu, "ok", "pcie-width", f"PCIe x{now}")


def pcie_generation(gpu: GpuFacts) -> Finding | None:
    now, most = gpu.pcie_generation, gpu.pcie_generation_max
    if now is None or most is None:
        return None
    if now < most:
        text = f"PCIe generation {now} of {most}: usual while idle, a slow slot if it stays under load"
        return _finding(
            gpu, "note", "pcie-generation", text, f"nvidia-smi -i {gpu.index} --query-gpu=pcie.link.gen.current --format=csv -l 1"
        )
    return _finding(gpu, "ok", "pcie-generation", f"PCIe generation {now}")


def temperature(gpu: GpuFacts) -> Finding | None:
    now, limit = gpu.temperature_c, gpu.slowdown_c
    if now is None:
        return None
    if limit is not None and now > limit - NEAR_SLOWDOWN_C:
        text = f"{now:.0f} °C, and it slows down at {limit:.0f} °C"
        return _finding(gpu, "warning", "temperature", text, "let it cool; look at the airflow")
    return _finding(gpu, "ok", "temperature", f"{now:.0f} °C" + ("" if limit is None else f", slows down at {limit:.0f} °C"))


def throttling(gpu: GpuFacts) -> Finding | None:
    if gpu.clock_reasons is None:
        return None
    active = [reason for reason in gpu.clock_reasons if reason in SLOWDOWNS]
    if active:
        return _finding(gpu, "warning", "throttling", f"slowed down now: {', '.join(active)}", SLOWDOWNS[active[0]])
    if "power cap" in gpu.clock_reasons:
        return _finding(gpu, "note", "throttling", "at its power cap now: somebody is using it, or it has just been used")
    return _finding(gpu, "ok", "throttling", "not slowed down")


def fp8(gpu: GpuFacts) -> Finding | None:
    if gpu.capability is None:
        return None
    shown = ".".join(map(str, gpu.capability))
    if gpu.capability < FP8_FROM:
        return _finding(gpu, "note", "fp8", f"compute capability {shown}: fp8 points are unsupported (from 8.9)")
    return _finding(gpu, "ok", "fp8", f"compute capability {shown}: fp8")


def unanswered(gpu: GpuFacts) -> Finding | None:
    if not gpu.errors:
        return None
    queries = ", ".join(name.removeprefix("nvmlDeviceGet") for name in gpu.errors)
    return _finding(gpu, "note", "unanswered", f"NVML failed on {queries} ({next(iter(gpu.errors.values()))}): not judged")


RULES: tuple[Callable[[GpuFacts], Finding | None], ...] = (
    *(board, clocks, power, persistence, ecc, mig, processes, compute_mode),
    *(temperature, throttling, pcie_width, pcie_generation, fp8, unanswered),
)
