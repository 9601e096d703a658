"""Which of a machine's GPUs CUDA_VISIBLE_DEVICES shows to CUDA. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

VARIABLE = "CUDA_VISIBLE_DEVICES"


class Listed(Protocol):
    """A board as NVML lists it."""

    @property
    def index(self) -> int: ...

    @property
    def uuid(self) -> str | None: ...

    @property
    def mig_uuids(self) -> tuple[str, ...]:
        """Of the slices that the board is split into."""


G = TypeVar("G", bound=Listed)


def shown(gpus: Sequence[G], text: str) -> tuple[G, ...]:
    """The boards that CUDA_VISIBLE_DEVICES names: numbers, or beginnings of UUIDs, up to the first that is neither (CUDA C++ Programming
    Guide, "CUDA environment variables"). A number is taken as NVML's, which is CUDA's where the boards are of one kind."""
    found: list[G] = []
    for part in map(str.strip, text.split(",")):
        board = next((gpu for gpu in gpus if is_named(gpu, part)), None)
        if board is None:
            break
        if board not in found:
            found.append(board)
    return tuple(found)


def is_named(gpu: Listed, part: str) -> bool:
    """Whether a number or the beginning of a UUID names the board."""
    if is_number(part):
        return gpu.index == int(part)
    return any(uuid.startswith(part) for uuid in (gpu.uuid, *gpu.mig_uuids) if uuid and part.startswith(("GPU-", "MIG-")))


def is_number(part: str) -> bool:
    return part.isascii() and part.isdecimal()
