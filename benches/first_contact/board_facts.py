"""What the board and this machine are, and what each question to NVML costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pynvml

from benches.devices.nvml import ask
from benches.doctor.findings_text import write_json
from benches.doctor.probe import probe
from benches.doctor.rules import can_measure, judge
from benches.first_contact.check import Check, equal, known, within
from benches.first_contact.output import DOCTOR, append
from benches.run import worker
from kernels.gpus import Gpu

STEP = "facts"
REPEATS = 20
FIELDS = (83, 185, 186, 268, 269, 270, 271)  # nvml.h: energy, average and instant power, and what slowed the clocks, by cause
POLICIES = ("POWER", "THERMAL", "SYNC_BOOST", "BOARD_LIMIT", "LOW_UTILIZATION", "RELIABILITY", "TOTAL_APP_CLOCKS", "TOTAL_BASE_CLOCKS")


def run(folder: str) -> dict[str, Any]:
    """In a worker: writes doctor.json, adds what was asked to clockwork.jsonl; what `judge_facts` takes."""
    facts = probe(Path(folder))
    findings = judge(facts)
    write_json(Path(folder) / DOCTOR, facts, findings, None)
    device = worker.bench().device
    asked = board_questions(device) if device.kind == "cuda" else {}
    append(Path(folder), "nvml", {name: latency(question) for name, question in asked.items()})
    reading, counted = device.read(), device.counters()
    found = {
        "kind": device.kind,
        "name": device.describe()["device_name"],
        "gpu": device.gpu.name if device.gpu else None,
        "l2_bytes": device.l2_bytes,
        "free_bytes": device.free_bytes(),
        "can_measure": can_measure(findings),
        "blocks": [finding.text for finding in findings if finding.level == "blocks"],
        "reading": {name: getattr(reading, name) for name in ("sm_clock_hz", "memory_clock_hz", "power_w", "temperature_c", "reasons")},
        "counters": sorted(counted.slowed_s),
        **(properties() if device.kind == "cuda" else {}),
    }
    append(Path(folder), "facts", found)
    return found


def properties() -> dict[str, Any]:
    """What the CUDA runtime reports about the board."""
    import torch

    found = torch.cuda.get_device_properties(0)
    return {
        "capability": [found.major, found.minor],
        "sm_count": found.multi_processor_count,
        "memory_bytes": found.total_memory,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def latency(question: Callable[[], Any]) -> dict[str, Any]:
    """{answer, median_s, max_s} of REPEATS calls, or {error}: NVML's words."""
    taken, answer = [], None
    for _ in range(REPEATS):
        begin = time.perf_counter()
        try:
            answer = question()
        except pynvml.NVMLError as error:
            return {"error": str(error)}
        taken.append(time.perf_counter() - begin)
    return {"answer": str(answer)[:100], "median_s": median(taken), "max_s": max(taken)}


def board_questions(device: Any) -> dict[str, Callable[[], Any]]:
    """Every NVML call that the suite or `doctor` makes, and those that could replace one; empty where NVML does not know the board."""
    uuid = str(device.describe()["device_uuid"]).encode()
    handle = ask(lambda: pynvml.nvmlInit() or pynvml.nvmlDeviceGetHandleByUUID(uuid))
    if handle is None:
        return {}
    questions: dict[str, Callable[[], Any]] = {
        "name": lambda: pynvml.nvmlDeviceGetName(handle),
        "driver": pynvml.nvmlSystemGetDriverVersion,
        "vbios": lambda: pynvml.nvmlDeviceGetVbiosVersion(handle),
        "sm clock": lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
        "memory clock": lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM),
        "max sm clock": lambda: pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM),
        "application clock": lambda: pynvml.nvmlDeviceGetApplicationsClock(handle, pynvml.NVML_CLOCK_SM),
        "power": lambda: pynvml.nvmlDeviceGetPowerUsage(handle),
        "power cap": lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle),
        "temperature": lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
        "clock reasons": lambda: pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),
        "energy": lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle),
        "persistence": lambda: pynvml.nvmlDeviceGetPersistenceMode(handle),
        "ecc": lambda: pynvml.nvmlDeviceGetEccMode(handle),
        "mig": lambda: pynvml.nvmlDeviceGetMigMode(handle),
        "utilisation": lambda: pynvml.nvmlDeviceGetUtilizationRates(handle),
        "processes": lambda: len(pynvml.nvmlDeviceGetComputeRunningProcesses(handle)),
        "memory": lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).used,
        "pcie generation": lambda: pynvml.nvmlDeviceGetCurrPcieLinkGeneration(handle),
        "pcie width": lambda: pynvml.nvmlDeviceGetCurrPcieLinkWidth(handle),
    }
    for name in POLICIES:
        questions[f"violation {name.lower()}"] = partial(violation, handle, getattr(pynvml, f"NVML_PERF_POLICY_{name}"))
    for number in FIELDS:
        questions[f"field {number}"] = partial(field, handle, number)
    return questions


def violation(handle: Any, policy: int) -> int:
    """Nanoseconds so far."""
    return pynvml.nvmlDeviceGetViolationStatus(handle, policy).violationTime


def field(handle: Any, number: int) -> int:
    """A field's value. Raises NVMLError where the board does not have it."""
    value = pynvml.nvmlDeviceGetFieldValues(handle, [number])[0]
    if value.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(value.nvmlReturn)
    return value.value.uiVal if value.valueType == pynvml.NVML_VALUE_TYPE_UNSIGNED_INT else value.value.ullVal


def judge_facts(found: Mapping[str, Any], gpu: Gpu | None) -> list[Check]:
    """gpu: the file of configs/gpus that the board's name leads to. Pure."""
    unknown = f"configs/gpus has no board {found['name']!r}: no peaks, no physics check"
    checks = [known(STEP, "board", found["gpu"], note="" if gpu else unknown)]
    if gpu:
        file = f"configs/gpus/{gpu.name}.yaml"
        checks.append(equal(STEP, "L2", found["l2_bytes"], gpu.l2_bytes, "bytes", f"l2_bytes of {file}"))
        if "capability" in found:
            capability = ".".join(map(str, found["capability"]))
            checks.append(equal(STEP, "compute capability", capability, ".".join(map(str, gpu.compute_capability))))
            checks.append(equal(STEP, "SMs", found["sm_count"], gpu.sm_count, note=f"sm_count of {file}"))
            checks.append(within(STEP, "memory", found["memory_bytes"] / gpu.memory_bytes, "of the data sheet's", 0.95, 1.12))
    reading = found["reading"]
    checks += [
        known(STEP, "SM clock", reading["sm_clock_hz"], "Hz"),
        known(STEP, "memory clock", reading["memory_clock_hz"], "Hz"),
        known(STEP, "power", reading["power_w"], "W"),
        known(STEP, "temperature", reading["temperature_c"], "°C"),
        known(STEP, "what holds the clock down", None if reading["reasons"] is None else ", ".join(reading["reasons"]) or "nothing"),
        known(STEP, "counters of slowdowns", ", ".join(found["counters"]) or None),
    ]
    if found["kind"] == "cuda":
        blocks = "; ".join(found["blocks"])
        checks.append(equal(STEP, "doctor: this machine can measure", "yes" if found["can_measure"] else "no", "yes", note=blocks))
    return checks
