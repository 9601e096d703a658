"""The facts of a run's boards, for `board` of environment.json, or of several boards for `boards`. They are read outside the worker, since
NVML needs no CUDA context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benches.devices.nvml import Board
from benches.devices.simulated_facts import simulated_facts


def facts(kind: str, uuid: str | None, ended: bool = False) -> dict[str, Any] | None:
    """Returns what the board reports now; None where the device has no board, or is several."""
    if kind == "simulated":
        return simulated_facts(uuid, ended).recorded()
    return Board(uuid).facts().recorded() if kind == "cuda" and uuid else None


def begun(about: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the field of environment.json with what the boards of a run report as it begins: `board` of one, `boards` of several."""
    kind, uuids = about["device_kind"], uuids_of(about)
    if len(uuids) > 1:
        return _several({uuid: _both(facts(kind, uuid), None) for uuid in uuids})
    return _one(_both(facts(kind, about.get("device_uuid")), None))


def ended(about: Mapping[str, Any], measured: Sequence[str]) -> dict[str, Any]:
    """Returns this field as the run ends, in which what was reported at the start stays. measured: UUIDs of the GPUs of its last part."""
    kind, uuids, before = about["device_kind"], uuids_of(about), boards_of(about)
    if len(uuids) > 1:
        now = {uuid: _both(_at("start", before.get(uuid)), facts(kind, uuid, ended=True)) for uuid in measured}
        return _several(before | now)
    return _one(_both(_at("start", about.get("board")), facts(kind, about.get("device_uuid"), ended=True)))


def joined(abouts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns this field of a run that was measured in parts, by the environment of each part, the earlier first: of each board its first
    start and its last end. Empty where no part names a GPU."""
    found: dict[str, Any] = {}
    for about in abouts:
        for uuid, own in boards_of(about).items():
            earlier = found.get(uuid)
            found[uuid] = _both(_at("start", earlier) or _at("start", own), _at("end", own) or _at("end", earlier))
    several = len({uuid for about in abouts for uuid in uuids_of(about)}) > 1
    return {"board": None} | _several(found) if several else _one(next(iter(found.values()), None))


def uuids_of(about: Mapping[str, Any]) -> list[str]:
    """The GPUs that environment.json names."""
    return [gpu["uuid"] for gpu in about.get("gpus") or ()]


def boards_of(about: Mapping[str, Any]) -> dict[str, Any]:
    """What is recorded of each board, by UUID, of those that environment.json names."""
    uuids = uuids_of(about)
    found = {uuids[0]: about.get("board")} if len(uuids) == 1 else about.get("boards")
    return {uuid: own for uuid, own in found.items() if isinstance(own, dict)} if isinstance(found, dict) else {}


def _both(start: Any, end: Any) -> dict[str, Any] | None:
    return {"start": start, "end": end} if start is not None or end is not None else None


def _one(board: dict[str, Any] | None) -> dict[str, Any]:
    return {} if board is None else {"board": board}


def _several(boards: Mapping[str, Any]) -> dict[str, Any]:
    known = {uuid: own for uuid, own in boards.items() if own is not None}
    return {"boards": known} if known else {}


def _at(moment: str, board: Any) -> Any:
    """What a board reported at the start or the end; None where it is not recorded."""
    return board.get(moment) if isinstance(board, dict) else None
