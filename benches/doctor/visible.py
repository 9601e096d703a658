"""Which boards a run would measure on: those that CUDA shows it. The others are somebody else's, and are not judged. Pure."""

from __future__ import annotations

from benches.devices.visible import shown
from benches.doctor.machine_facts import Facts, GpuFacts


def visible_gpus(facts: Facts) -> tuple[GpuFacts, ...]:
    """The boards that torch finds; where it finds none, those that CUDA_VISIBLE_DEVICES names; without it all."""
    gpus, software = facts.nvidia.gpus, facts.software
    if software.cuda_uuids is not None:
        found = [gpu for gpu in gpus if set(bare_uuids(gpu)) & set(map(bare, software.cuda_uuids))]
        return tuple(found) or gpus  # boards whose UUID NVML does not give
    return gpus if software.visible_devices is None else shown(gpus, software.visible_devices)


def bare(uuid: str) -> str:
    return uuid.removeprefix("GPU-").removeprefix("MIG-")


def bare_uuids(gpu: GpuFacts) -> list[str]:
    """Of the board and its MIG slices."""
    return [bare(uuid) for uuid in (gpu.uuid, *gpu.mig_uuids) if uuid]
