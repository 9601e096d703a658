"""Every command that reads a run or writes a file refuses in one line, with exit code 2."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benches.run.journal import read_journal
from reports.__main__ import main
from reports.refusal import RunError, check_folder, writing


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_file_that_the_system_refuses_is_named(number: int) -> None:
    with pytest.raises(RunError) as refused, writing(Path("there/page.html")):
        raise OSError(number, os.strerror(number))
    assert str(refused.value) == f"there/page.html: cannot be written ({os.strerror(number)}): name another place with -o"


def test_a_folder_is_checked_before_the_work(tmp_path: Path) -> None:
    check_folder(None)
    check_folder(tmp_path / "page.html")
    with pytest.raises(RunError, match="gone: no such directory"):
        check_folder(tmp_path / "gone" / "page.html")


@pytest.mark.parametrize(
    "command",
    [["html"], ["table"], ["chart", "roofline", "-o", "x.svg"], ["explain", "a"], ["compare", "nowhere"]],
    ids=lambda words: words[0],
)
def test_a_run_that_is_not_there_is_a_line(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, *rest = command
    assert main([name, str(tmp_path / "nowhere"), *rest]) == 2
    assert capsys.readouterr() == ("", f"error: {tmp_path / 'nowhere'}: no such run directory\n")


@pytest.mark.slow
def test_a_file_that_cannot_be_written_is_a_line(make_run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, folder = make_run("cuda"), tmp_path / "folder"
    again = make_run("cuda", "again", rows=read_journal(run).rows)
    folder.mkdir()
    for command in (
        ["html", str(run)],
        ["table", str(run)],
        ["compare", str(run), str(again)],
        ["napkin"],
        ["reference"],
    ):
        file = tmp_path / "file"
        file.touch()
        out = file if command[0] == "reference" else folder
        assert main([*command, "-o", str(out)]) == 2, command
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith(f"error: {out}: cannot be written ("), lines
