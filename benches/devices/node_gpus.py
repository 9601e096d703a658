"""The GPUs of this node: which there are, which of them `--gpus` names, and the NUMA node that each is attached to.

Neither imports torch nor makes a CUDA context: the process that asks is the one whose workers measure.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pynvml

from benches.devices import visible
from benches.devices.cores import read
from benches.devices.nvml import ask
from kernels.gpus import DEFAULT_GPU, load_gpu

PCI = Path("/sys/bus/pci/devices")
NUMA = Path("/sys/devices/system/node")
ORDER, BY_BUS = "CUDA_DEVICE_ORDER", "PCI_BUS_ID"
SIMULATED, SIMULATED_DEFAULT, SIMULATED_MOST = "MICROBENCH_SIMULATED_GPUS", 8, 1024
ALL = "all"


class GpuChoiceError(ValueError):
    """What was asked for is not a choice of this node's GPUs. The message is one line that says what to do."""


@dataclass(frozen=True)
class NodeGpu:
    """A GPU of this node. index: its place among those that CUDA shows. numa: None where Linux names no node."""

    index: int
    uuid: str
    name: str
    numa: int | None = None
    mig_uuids: tuple[str, ...] = ()
    mig: bool = False  # whether the board is split into slices

    def recorded(self) -> dict[str, Any]:
        """Its part of environment.json."""
        return {name: value for name, value in asdict(self).items() if name in ("index", "uuid", "name", "numa")}

    def __str__(self) -> str:
        return f"GPU {self.index}"


def node_gpus(kind: str, environ: Mapping[str, str] = os.environ) -> tuple[NodeGpu, ...]:
    """Returns the GPUs that a kind of device has here: those that CUDA shows, or simulated ones. Raises GpuChoiceError."""
    return simulated_gpus(environ) if kind == "simulated" else shown_gpus(listed_gpus(), environ)


def simulated_gpus(environ: Mapping[str, str], machines: int = 1) -> tuple[NodeGpu, ...]:
    """Returns so many simulated boards a machine as MICROBENCH_SIMULATED_GPUS says, each with a UUID that is the same in every run."""
    text = environ.get(SIMULATED, "").strip() or str(SIMULATED_DEFAULT)
    if not visible.is_number(text) or not 1 <= int(text[:9]) <= SIMULATED_MOST:
        raise GpuChoiceError(f"{SIMULATED}: {text!r} is not a number of GPUs from 1 to {SIMULATED_MOST}; set one, or unset it")
    name = simulated_name()
    return tuple(NodeGpu(i, simulated_uuid(i), name) for i in range(machines * int(text)))


def simulated_uuid(index: int) -> str:
    return f"GPU-{uuid5(NAMESPACE_URL, f'microbench:simulated-gpu:{index}')}"


def simulated_name() -> str:
    return f"simulated {load_gpu(DEFAULT_GPU).boards[0]}"


def listed_gpus(pci: Path = PCI) -> tuple[NodeGpu, ...]:
    """Returns every GPU that NVML lists, by NVML's index; without those whose UUID it does not give."""
    try:
        pynvml.nvmlInit()
        handles = [ask(pynvml.nvmlDeviceGetHandleByIndex, i) for i in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as e:
        raise GpuChoiceError(f"NVML gives no list of GPUs ({e}): leave --gpus out, or see `python -m benches doctor`") from e
    return tuple(gpu for i, handle in enumerate(handles) if handle is not None and (gpu := _listed(i, handle, pci)) is not None)


def _listed(index: int, handle: Any, pci: Path) -> NodeGpu | None:
    uuid, name = ask(pynvml.nvmlDeviceGetUUID, handle), ask(pynvml.nvmlDeviceGetName, handle)
    bus, modes = ask(pynvml.nvmlDeviceGetPciInfo, handle), ask(pynvml.nvmlDeviceGetMigMode, handle)
    if uuid is None:
        return None
    split = modes is not None and modes[0] == pynvml.NVML_DEVICE_MIG_ENABLE
    numa = numa_of(_text(bus.busId), pci) if bus is not None else None
    return NodeGpu(index, _text(uuid), _text(name or "unknown GPU"), numa, slices_of(handle) if split else (), split)


def slices_of(handle: Any) -> tuple[str, ...]:
    """Returns the UUIDs of the slices that a board is split into."""
    found = []
    for i in range(ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        part = ask(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, i)
        uuid = ask(pynvml.nvmlDeviceGetUUID, part) if part is not None else None
        found += [_text(uuid)] if uuid is not None else []
    return tuple(found)


def _text(answer: str | bytes) -> str:
    """Older bindings of NVML answer in bytes."""
    return answer.decode(errors="replace") if isinstance(answer, bytes) else answer


def numa_of(bus: str, pci: Path = PCI) -> int | None:
    """Returns the NUMA node of a PCI device, which NVML calls 00000000:1B:00.0 and Linux 0000:1b:00.0; None where Linux names none."""
    domain, _, rest = bus.lower().partition(":")
    text = read(pci / f"{domain[-4:]}:{rest}" / "numa_node") or ""
    return int(text) if visible.is_number(text) else None  # -1: the firmware does not say


def cpus_of_node(numa: int, root: Path = NUMA) -> frozenset[int]:
    """Returns the logical CPUs of a NUMA node; empty where Linux does not list them."""
    return frozenset(cpus_in(read(root / f"node{numa}" / "cpulist") or ""))


def cpus_in(text: str) -> Iterable[int]:
    """Returns the numbers of a list as Linux writes it, such as 0-3,8."""
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def pin(numa: int | None, root: Path = NUMA) -> None:
    """Keeps this process on the CPUs of a NUMA node, as far as it may use them: its memory then lies there too. Does nothing where the node
    or its CPUs are not known, or none of them is allowed."""
    if numa is None or not hasattr(os, "sched_setaffinity"):
        return
    cpus = cpus_of_node(numa, root) & os.sched_getaffinity(0)
    if cpus:
        os.sched_setaffinity(0, cpus)


def shown_gpus(gpus: Sequence[NodeGpu], environ: Mapping[str, str]) -> tuple[NodeGpu, ...]:
    """Returns the GPUs that CUDA_VISIBLE_DEVICES shows, counted from 0 as CUDA does. Raises GpuChoiceError where it shows none, or where
    its numbers may mean other boards to CUDA than to NVML."""
    text = environ.get(visible.VARIABLE)
    found = tuple(gpus) if text is None else visible.shown(gpus, text)
    if not found:
        why = "NVML lists no GPU" if text is None else f"{visible.VARIABLE}={text!r} shows none of {len(gpus)} GPUs"
        raise GpuChoiceError(f"{why}: leave --gpus out, or see `python -m benches doctor`")
    by_number = text is not None and any(visible.is_number(part.strip()) for part in text.split(","))
    if by_number and len({gpu.name for gpu in gpus}) > 1 and environ.get(ORDER) != BY_BUS:
        raise GpuChoiceError(
            f"{visible.VARIABLE}={text!r}: with GPUs of several models CUDA counts the fastest first: set {ORDER}={BY_BUS}, or name UUIDs"
        )
    return tuple(replace(gpu, index=i) for i, gpu in enumerate(found))


def choose(text: str, gpus: Sequence[NodeGpu]) -> tuple[NodeGpu, ...]:
    """Returns the GPUs that `all`, or indices and beginnings of UUIDs with commas between, name, in that order. Raises GpuChoiceError."""
    parts = [part.strip() for part in text.split(",")]
    chosen = tuple(gpus) if parts == [ALL] else tuple(_one(part, gpus) for part in parts)
    for i, gpu in enumerate(chosen):
        if gpu in chosen[:i]:
            raise GpuChoiceError(f"{gpu} ({gpu.uuid}) is named twice; name each once")
        if gpu.mig:
            raise GpuChoiceError(f"{gpu} is split into MIG slices: leave --gpus out, and name one slice in {visible.VARIABLE}")
    return chosen


def _one(part: str, gpus: Sequence[NodeGpu]) -> NodeGpu:
    found = [gpu for gpu in gpus if part and visible.is_named(gpu, part)]
    if len(found) == 1:
        return found[0]
    numbers = f"0 to {len(gpus) - 1}" if len(gpus) > 1 else "0"
    what = "begins several UUIDs" if found else "is not a GPU here"
    raise GpuChoiceError(f"{part!r} {what}; choose from {numbers}, UUIDs (GPU-…), or {ALL}")
