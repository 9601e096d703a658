"""The facts of a run's board, for `board` of environment.json. They are read outside the worker, since NVML needs no CUDA context."""

from __future__ import annotations

from typing import Any

from benches.devices.nvml import Board
from benches.devices.simulated_facts import simulated_facts


def facts(kind: str, uuid: str | None, ended: bool = False) -> dict[str, Any] | None:
    """Returns what the board reports now; None where the device has no board, or is several."""
    if kind == "simulated":
        return simulated_facts(uuid, ended).recorded()
    return Board(uuid).facts().recorded() if kind == "cuda" and uuid else None
