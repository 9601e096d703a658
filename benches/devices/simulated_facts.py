"""What a simulated board reports of its health and links: a healthy H100 SXM5's facts, and those that MICROBENCH_FAULTS plants."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from benches.devices import faults
from benches.devices.board_facts import COUNTERS, BoardFacts
from benches.devices.node_gpus import simulated_uuid
from kernels.gpus import DEFAULT_GPU, load_gpu

NVLINKS = 18  # of an H100 SXM5


def planted(found: list[tuple[str, str]], uuid: str | None) -> dict[str, float]:
    """Returns the facts that faults plant into a board. A run that was given no GPUs is on the first one, and has no UUID."""
    boards = faults.boards(found)
    return next((facts for i, facts in boards.items() if uuid == simulated_uuid(i) or (uuid is None and i == 0)), {})


def simulated_facts(uuid: str | None, ended: bool) -> BoardFacts:
    """Returns a board's facts. ended: whether its counters have come to what is planted; before, they stand at 0. Raises FaultError."""
    facts = planted(faults.parse(os.environ.get(faults.VARIABLE, "")), uuid)
    healthy: dict[str, Any] = {
        **dict.fromkeys(COUNTERS, 0),
        **{"ecc": True, "remapping_pending": False, "remapping_failed": False, "nvlinks": NVLINKS},
        **{"pcie_generation": 5, "pcie_width": 16, "pcie_generation_max": 5, "pcie_width_max": 16},
        "sm_clock_max_hz": load_gpu(DEFAULT_GPU).boost_clock_hz,
    }
    shown = {name: value for name, value in facts.items() if name in healthy and (ended or name not in COUNTERS)}
    return replace(BoardFacts(**healthy), **{name: type(healthy[name])(value) for name, value in shown.items()})
