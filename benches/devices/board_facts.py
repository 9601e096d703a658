"""What a board reports of its own health and links, beside what changes from sample to sample: the facts of environment.json's `board`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class BoardFacts:
    """Everything is None where the board, its driver or permissions do not give it. SI units stand in the names."""

    serial: str | None = None
    bus: str | None = None  # its address on the PCI bus
    ecc: bool | None = None  # whether error correction is switched on
    ecc_corrected: int | None = None  # errors of its memory so far, in its lifetime
    ecc_uncorrected: int | None = None
    remapped_rows_corrected: int | None = None  # rows of the memory that spare ones stand in for, after corrected errors
    remapped_rows_uncorrected: int | None = None
    remapping_pending: bool | None = None  # until the next reset
    remapping_failed: bool | None = None
    pcie_generation: int | None = None  # of the link as it is now
    pcie_width: int | None = None  # lanes
    pcie_generation_max: int | None = None  # that board and slot allow
    pcie_width_max: int | None = None
    pcie_replays: int | None = None
    nvlinks: int | None = None  # that are active
    nvlink_crc_errors: int | None = None
    nvlink_replays: int | None = None
    nvlink_recoveries: int | None = None
    sm_clock_max_hz: float | None = None
    power_limit_w: float | None = None
    memory_temperature_c: float | None = None
    slowed_s: Mapping[str, float] = field(default_factory=dict)  # by cause, since the driver was loaded

    def recorded(self) -> dict[str, Any]:
        """Its part of environment.json."""
        return {**self.__dict__, "slowed_s": dict(self.slowed_s)}


# Facts that only grow: how much they grew during a run says more than where they stand.
COUNTERS = (
    *("ecc_corrected", "ecc_uncorrected", "remapped_rows_corrected", "remapped_rows_uncorrected", "pcie_replays"),
    *("nvlink_crc_errors", "nvlink_replays", "nvlink_recoveries"),
)
LINK = ("pcie_generation", "pcie_width")  # which a board lowers while it idles
