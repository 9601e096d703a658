"""Which GPUs a session measures on, and whether each point goes to one of them or to all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from benches.devices.node_gpus import GpuChoiceError, NodeGpu, choose, node_gpus
from benches.run.resume import SHARD, SURVEY


@dataclass(frozen=True)
class Placement:
    """The GPUs that `--gpus` names; without any the device chooses."""

    gpus: tuple[NodeGpu, ...] = ()
    mode: str | None = None

    @property
    def survey(self) -> bool:
        return self.mode == SURVEY

    @property
    def several(self) -> bool:
        """Whether several GPUs share one run directory."""
        return self.mode == SHARD and len(self.gpus) > 1


def placement(config: pytest.Config, kind: str, before: Mapping[str, Any], shard: str | None) -> Placement:
    """Returns where the points go; a resumed run (`before` is its environment) goes on where it was. Raises pytest.UsageError."""
    text, mode = config.getoption("--gpus"), config.getoption("--mode")
    recorded = before.get("gpus") or ()
    if recorded and mode not in (None, before["mode"]):
        raise pytest.UsageError(f"--mode {mode}: the run to resume continues with --mode {before['mode']}: leave --mode out")
    mode = before["mode"] if recorded else mode
    if text is None and not recorded:
        if mode is not None:
            raise pytest.UsageError(f"--mode {mode}: it says how points are given to several GPUs: name them, as with --gpus all")
        return Placement()
    asked = f"--gpus {text}" if text is not None else "the GPUs of the run to resume, where --gpus names no others"
    text = ",".join(gpu["uuid"] for gpu in recorded) if text is None else text
    if kind == "cpu":
        raise pytest.UsageError(f"{asked}: the device is the CPU: leave --gpus out, or choose --device cuda or --device simulated")
    if config.getoption("--isolation") == "none":
        raise pytest.UsageError(f"{asked} with --isolation none: each GPU has a worker process of its own: leave one of them out")
    try:
        gpus = choose(text, node_gpus(kind))
    except GpuChoiceError as e:
        raise pytest.UsageError(f"{asked}: {e}") from None
    mode = mode or (SURVEY if len(gpus) > 1 and not shard else SHARD)
    if mode == SURVEY and shard:
        raise pytest.UsageError(f"--shard {shard} with --mode survey, where every GPU measures every point: leave one of them out")
    models = list(dict.fromkeys(gpu.name for gpu in gpus))
    if mode == SHARD and len(models) > 1:
        raise pytest.UsageError(
            f"--mode shard: the GPUs are of several models ({', '.join(models)}): name those of one, or use --mode survey"
        )
    return Placement(gpus, mode)
