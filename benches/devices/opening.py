"""The device of a kind. Each is imported only here, since two of them bring torch along."""

from __future__ import annotations

from typing import Any

from benches.devices.base import Device
from kernels.gpus import Ceilings


class NoDevice(Exception):
    """There is no such device here; the message says what to do."""


def open_device(kind: str, described: dict[str, Any] | None = None) -> Device:
    """`cuda`, `cpu` or `simulated`. Raises NoDevice.

    described: what `Device.describe` said earlier in this run; a CPU takes its ceilings from it instead of measuring them again.
    """
    if kind == "simulated":
        from benches.devices.simulated import SimulatedDevice

        return SimulatedDevice()
    if kind == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise NoDevice(f"torch {torch.__version__} finds no CUDA device: install a CUDA build of torch, or use --device cpu")
        from benches.devices.cuda import CudaDevice

        return CudaDevice()
    from benches.devices.cpu import CpuDevice

    return CpuDevice(Ceilings.model_validate(described["ceilings"]) if described else None)
