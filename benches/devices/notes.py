"""What a run on a CUDA device leaves out or takes from elsewhere, so that a reader of its figures knows. Pure."""

from __future__ import annotations

from kernels.gpus import Gpu

INSTALL_NVML = "install the driver's libnvidia-ml (in a container: NVIDIA_DRIVER_CAPABILITIES=compute,utility)"


def notes(name: str, gpu: Gpu | None, l2_bytes: int, mig: bool, nvml_problem: str | None, counters: bool) -> list[str]:
    """One sentence each for what is missing or differs; empty for a board that is known and readable.

    gpu: as its YAML describes it, None where none names the board. l2_bytes: as the CUDA runtime reports it. mig: the device is a slice.
    nvml_problem: why NVML gives nothing, or None. counters: whether the board counts for how long it was slowed.
    """
    found = []
    if mig:
        return [
            f"{name} is a MIG slice: no peaks (configs/gpus describes whole boards), so no prediction and no physics check; "
            "no clocks, no power and no throttle detection; to have them, measure a whole board: sudo nvidia-smi -mig 0"
        ]
    if gpu is None:
        found.append(f"no file in configs/gpus names {name}: no peaks, so no prediction and no physics check")
    elif l2_bytes != gpu.l2_bytes:
        found.append(
            f"this board's L2 holds {l2_bytes:,} bytes, configs/gpus/{gpu.name}.yaml has {gpu.l2_bytes:,}: "
            "the board's own value is used throughout"
        )
    if nvml_problem is not None:
        found.append(
            f"NVML reports nothing about this board ({nvml_problem}): no clocks, no power and no throttle detection, "
            f"so the times of a throttled board look like any other's; {INSTALL_NVML}"
        )
    elif not counters:
        found.append("NVML does not report why this board slows down: no throttle detection")
    return found
