"""A directory holds one run at a time: the lock, and file systems without locks."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from benches.run.resume import HeldElsewhere, lock
from benches.run.run import Request, Run, RunError


def test_a_second_run_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    held, note = lock(tmp_path)
    assert note is None
    with pytest.raises(HeldElsewhere):
        lock(tmp_path)
    held.close()
    lock(tmp_path)[0].close()


def failing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def flock(file: object, flags: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP])
def test_a_file_system_without_locks_gets_a_note(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, number)
    file, note = lock(tmp_path)
    file.close()
    words = f"its file system has no locks ({os.strerror(number)}): make sure that no other run writes there"
    assert note == f"{tmp_path}: {words}"


class Stopping(Exception):
    """Ends a run where its device would be opened."""


def no_device() -> object:
    raise Stopping


@pytest.mark.parametrize(
    ("number", "raised", "words"),
    [
        (errno.ENOLCK, Stopping, "^$"),
        (errno.EWOULDBLOCK, RunError, "another run is writing there"),
        (errno.EIO, RunError, r"cannot be written \(Input/output error\)"),
    ],
)
def test_what_a_run_makes_of_it(number: int, raised: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, number)
    with pytest.raises(raised, match=words):
        Run(tmp_path / "run", no_device, Request("", [], 1, {}))  # type: ignore[arg-type]
