"""Times the configs that could run a point of Triton's matmul, and keeps the fastest; puts the choices of a file to use."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benches.devices.base import Device
from benches.run.environment import package_versions
from benches.run.tuned_file import EMPTY, Origin, TunedChoice, TunedFile, chosen, read_tuned, usable, with_choice, write_tuned
from benches.timing.measure import measure, refuse
from kernels.fingerprint import source_hash
from kernels.gpus import Gpu
from kernels.matmul import choice
from kernels.matmul.configs import Config
from kernels.matmul.spec import OP
from kernels.op import Point

# A config is timed for a fraction of what a row is: some seconds for the dozen of a point. The warm-up is as long as clocks take to settle.
WARMUP_S = SAMPLING_S = 0.3
Refuses = Callable[[Point, Config, Gpu], str | None]  # why a config is not timed, or None


def here(device: Device) -> Origin:
    """Returns what choices that are made on this device belong to."""
    return Origin(device.describe()["device_name"], package_versions()["triton"], source_hash(OP, "triton"))


def apply(file: TunedFile, origin: Origin) -> list[str]:
    """Makes this process use the choices of a file. Returns a line where it holds others than those of this origin."""
    choices, notes = usable(file, origin)
    choice.use(choices)
    return notes


def tune_into(path: Path, point: Point, device: Device, seed: int) -> None:
    """Adds the choice for a point to the file; nothing where none of its configs could be timed. Raises OSError, and ValueError where the
    file has become another one since the run began."""
    found = tune(point, device, seed, inspected)
    if found:
        write_tuned(path, with_choice(read_tuned(path) if path.exists() else EMPTY, found))


def tune(point: Point, device: Device, seed: int, refuses: Refuses) -> TunedChoice | None:
    """Returns the fastest of a point's configs that are not refused and compute what they should; None where no config does, or the data
    sheet of the GPU is not known. The log has each that is left out. The rule chooses again afterwards."""
    gpu, refusal = device.gpu, refuse(point, device)
    if gpu is None or refusal:
        cause = refusal[1] if refusal else f"no file of configs/gpus describes {device.describe()['device_name']}"
        print(f"tuning {point.id}: no config is timed: {cause}", file=sys.stderr)
        return None
    named = {str(one): one for one in choice.candidates(point, gpu.sm_count, device.platform("triton"))}
    settings, case = device.settings, choice.case_of(point)
    times_s: dict[str, float] = {}
    device.settings = replace(settings, warmup_s=WARMUP_S, warmup_max_s=2 * WARMUP_S, max_s=SAMPLING_S, energy=False)
    try:
        for name, config in named.items():
            why = refuses(point, config, gpu)
            if why is None:
                choice.use({case: name})
                row = measure(point, device, seed)
                if row.status in ("ok", "noisy") and row.config == name and row.median_s:
                    times_s[name] = row.median_s
                else:
                    why = f"{row.status}: {row.reason}"
            if name not in times_s:
                print(f"tuning {point.id}: {name} is left out: {why}", file=sys.stderr)
    finally:
        device.settings = settings
        choice.use({})
    return chosen(case, here(device), times_s) if times_s else None


def inspected(point: Point, config: Config, gpu: Gpu) -> str | None:
    """Why `inspect` does not pass the kernel that this config compiles to: it spills, or does not fit, or multiplies as it should not."""
    from kernels.ahead_of_time import build, examine  # with Triton, which only some runs need
    from kernels.matmul.triton_impl import describe_point

    found = examine([build(describe_point(point, config, "tuned"), gpu)], gpu)[0]
    return None if found.status == "pass" else "; ".join(found.reasons)
