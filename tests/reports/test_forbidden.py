"""Directories that the user may not look into: a line and exit code 2, as of any other that cannot be read or written."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from benches.doctor import probe
from kernels.__main__ import main as inspect
from kernels.training import checkpoint
from reports.__main__ import main


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for a directory of mode 000, which would not stop root."""
    folder, real = tmp_path / "locked", {name: getattr(Path, name) for name in ("stat", "open", "unlink", "mkdir")}

    def refusing(name: str) -> Any:
        def call(path: Path, *arguments: Any, **options: Any) -> Any:
            if folder in path.parents:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return real[name](path, *arguments, **options)

        return call

    folder.mkdir()
    for name in real:
        monkeypatch.setattr(Path, name, refusing(name))
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ["html", "{locked}/run"],
        ["html", "{locked}/run", "-o", "{locked}/deeper/page.html"],
        ["compare", "{locked}/a", "{locked}/b"],
        ["compare", "{locked}/a", "{locked}/b", "-o", "{locked}/deeper/page.html"],
        ["nightly", "{locked}/run", "--history", "{locked}/history"],
        ["calibrate", "{locked}/run"],
        ["napkin", "{locked}/question.yaml"],
        ["demo-history", "{locked}/demo"],
    ],
    ids=" ".join,
)
def test_a_report_on_what_may_not_be_seen_is_one_line(arguments: list[str], locked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([one.format(locked=locked) for one in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert str(locked) in printed.err


def test_doctor_judges_what_it_may_not_see_by_the_directory_above(locked: Path) -> None:
    assert probe.probe_disk(locked / "runs").free_bytes


def test_inspect_finds_before_it_compiles_that_it_may_not_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(SystemExit, match="2"):
        inspect(["inspect", "--gpu", "h100_sxm5", "--json", str(tmp_path / "found.json")])
    assert "found.json may not be written" in capsys.readouterr().err


def test_a_checkpoint_that_may_not_be_written_is_one_line(locked: Path) -> None:
    with pytest.raises(checkpoint.CheckpointError, match=r"c\.pt: cannot be written: Permission denied"):
        checkpoint.save(locked / "c.pt", {})
