"""Going on with a run that was interrupted: what is finished, what must be the same, who may write."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from pydantic_core import from_json

from benches.row import CHECKED_ONLY, INTERRUPTED, Row
from benches.run import board
from benches.run.environment import LATER
from benches.run.journal import NAME
from benches.run.variables import changing_times
from kernels.fingerprint import LENGTH

RETRIED = ("timeout", "crashed", "error")  # on request: a second try may end differently
LOCK = ".lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)  # NFS without lockd, FUSE, some cluster file systems
SHARD, SURVEY = "shard", "survey"  # each point on one of the GPUs, or on each of them
OF_A_BOARD = ("device_uuid", "vbios")
# What a figure depends on: a run whose parts differ in one of these is two runs.
FIXED = (
    "host",
    "device_kind",
    "device_name",
    "device_uuid",
    "driver",
    "gpu",
    "versions",
    "commit",
    "dirty",
    "seed",
    "regime",
    "cache",
    "energy",
    "processes",
    "imports",
    "tuned",
)


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What changed between two environments, one `name: old → new` each."""
    changed = []
    for name in (*FIXED, *(name for name in LATER if name in before and name in now)):
        old, new = before.get(name), now.get(name)
        if name == "imports":
            old, new = by_import(old), by_import(new)
        if isinstance(old, dict) and isinstance(new, dict):
            if name == "variables":
                old, new = changing_times(old), changing_times(new)
            keys = sorted(old.keys() | new.keys())
            absent = {"variables": "not set", "imports": "not imported"}.get(name)
            changed += [f"{key}: {old.get(key, absent)} → {new.get(key, absent)}" for key in keys if old.get(key) != new.get(key)]
        elif old != new:
            changed.append(f"{name}: {old} → {new}")
    return changed


def comparable(before: dict[str, Any], now: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns both environments without what tells boards of one model apart, where both runs give each point to one of several GPUs: rows
    then name theirs, and other GPUs may go on."""
    if before.get("mode") == now.get("mode") == SHARD:
        return _without_board(before), _without_board(now)
    return before, now


def _without_board(environment: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in environment.items() if name not in OF_A_BOARD}


def joined_gpus(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Returns the `gpus` that measured a run of two parts and what their boards reported, and with several of them no `device_uuid`.

    Nothing where no GPU was named."""
    found = {gpu["uuid"]: gpu for gpu in (*(before.get("gpus") or ()), *(now.get("gpus") or ()))}
    if not found:
        return {}
    several = {"device_uuid": None} if len(found) > 1 else {}
    return {"gpus": list(found.values())} | several | board.joined([before, now])


def by_import(imports: list[dict[str, str]] | None) -> dict[str, str]:
    """The hash of each imported file, by what the difference is called."""
    return {f"--import {one['path']}": one["sha256"][:LENGTH] for one in imports or ()}


def finished(rows: Iterable[Row], retry: bool) -> dict[str, Row]:
    """Rows that need no second measurement, by point: not those checked only or interrupted, nor with `retry` those that timed out, crashed
    or raised."""
    again = (CHECKED_ONLY, INTERRUPTED)
    return {row.point: row for row in rows if row.cause not in again and not (retry and row.status in RETRIED)}


def repair(run_dir: Path) -> str | None:
    """Makes the journal end with a whole line: a torn last one is cut off. Says what was done, or None."""
    path = run_dir / NAME
    data = path.read_bytes()
    if not data or data.endswith(b"\n"):
        return None
    start = data.rfind(b"\n") + 1
    try:
        from_json(data[start:])
    except ValueError:
        with path.open("r+b") as file:
            file.truncate(start)
            os.fsync(file.fileno())
        return f"{path.name}: the last line was torn ({len(data) - start} bytes) and is measured again"
    with path.open("ab") as file:
        file.write(b"\n")
    return None


class HeldElsewhere(Exception):
    """Another run holds the directory."""


def lock(run_dir: Path) -> tuple[IO[str], str | None]:
    """Holds the directory until the returned file is closed or the process ends. With it comes a note where the file
    system has no locks, so that nothing is held. Raises HeldElsewhere, and OSError for any other failure."""
    file = (run_dir / LOCK).open("w", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return file, f"{run_dir}: its file system has no locks ({error.strerror}): make sure that no other run writes there"
        file.close()
        if isinstance(error, BlockingIOError):
            raise HeldElsewhere from error
        raise
    return file, None
