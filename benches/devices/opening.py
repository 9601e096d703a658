"""The device of a kind. Each is imported only here, since two of them bring torch along."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from typing import Any, Literal

from benches.devices.base import Device
from benches.devices.cores import ThreadsError
from benches.devices.node_gpus import NodeGpu
from benches.devices.nvml import gpu_count
from kernels.cpu_model import CpuError
from kernels.gpus import Ceilings

DRIVER = "libcuda.so.1"  # CUDA's driver, without which torch finds no device
ASK_TORCH = "import sys, torch; sys.exit(not torch.cuda.is_available())"
ASKING_S = 120.0  # importing torch from a network disk, and initialising eight boards


class NoDevice(Exception):
    """There is no such device here; the message says what to do."""


def automatic_kind() -> Literal["cuda", "cpu"]:
    """What `--device auto` measures on: CUDA where NVML lists a GPU or, where NVML gives no answer, torch finds one; else the CPU."""
    count = gpu_count()
    return "cuda" if count or (count is None and torch_finds_cuda()) else "cpu"


def torch_finds_cuda() -> bool:
    """Whether torch finds a CUDA device, asked in another process: this one must not touch CUDA, since its workers' faults are their own.

    Importing torch takes seconds, so a machine without CUDA's driver is not asked.
    """
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return False
    try:
        return subprocess.run([sys.executable, "-c", ASK_TORCH], capture_output=True, timeout=ASKING_S, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def open_device(kind: str, described: dict[str, Any] | None = None, generation: int = 0, gpu: NodeGpu | None = None) -> Device:
    """`cuda`, `cpu` or `simulated`. Raises NoDevice.

    described: what `Device.describe` said earlier in this run; a CPU takes its ceilings from it instead of measuring them again.
    generation: how many processes of this run had the device before; a simulated one differs from process to process.
    gpu: the one that was chosen. A simulated board has a seed of its own; CUDA shows this process no other board (worker.start).
    """
    if kind == "simulated":
        from benches.devices.faults import FaultError
        from benches.devices.simulated import SimulatedDevice, seed_of

        try:
            return SimulatedDevice(seed=seed_of(gpu) + generation, uuid=gpu.uuid if gpu else None)
        except FaultError as e:
            raise NoDevice(str(e)) from e
    if kind == "cuda":
        import torch

        if not torch.cuda.is_available():
            hint = "install a CUDA build of torch, look at CUDA_VISIBLE_DEVICES and nvidia-smi, or use --device cpu"
            raise NoDevice(f"torch {torch.__version__} finds no CUDA device: {hint}")
        from benches.devices.cuda import CudaDevice

        try:
            return CudaDevice()
        except RuntimeError as e:
            first = str(e).splitlines()[0]
            raise NoDevice(f"the CUDA device cannot be opened ({first}): `python -m benches doctor` shows which process holds it") from e
    from benches.devices.cpu import CpuDevice

    try:
        return CpuDevice(Ceilings.model_validate(described["ceilings"]) if described else None)
    except (CpuError, ThreadsError) as e:
        raise NoDevice(str(e)) from e
