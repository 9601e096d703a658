"""Where a name points, its file is written whole, and nothing else is replaced."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kernels.guard import ROOT
from kernels.writing import straight_through, write_file, write_text


def test_a_file_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    path.chmod(0o640)
    before = path.stat().st_ino
    write_text(path, "a\r\nb\n")
    assert path.read_bytes() == b"a\r\nb\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.stat().st_ino != before
    assert os.listdir(tmp_path) == ["out.json"]


@pytest.mark.parametrize("there", [True, False])
def test_a_symbolic_link_stays_one_and_its_target_is_written(tmp_path: Path, there: bool) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "target.json", tmp_path / "link.json"
    if there:
        target.write_text("old")
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_fifo_is_written_through(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_text()))
    reader.start()
    write_text(fifo, "through")
    reader.join(10)
    assert read == ["through"]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/null", "/dev/stdout", "/dev/stderr", "/dev/fd/7", "/proc/self/fd/1"])
def test_devices_and_open_files_are_written_through(tmp_path: Path, name: str) -> None:
    link = tmp_path / "link"
    link.symlink_to(name)
    assert straight_through(Path(name))
    assert straight_through(link)


@pytest.mark.parametrize("name", ["/dev/shm/plan.csv", "/proc/1/plan.csv", "plan.csv"])
def test_files_are_replaced_wherever_they_lie(name: str) -> None:
    assert not straight_through(Path(name))


def test_links_in_a_circle_are_not_followed_for_ever(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert not straight_through(tmp_path / "a")


@pytest.mark.parametrize("redirected", [True, False])
def test_standard_output_stays_what_it_is(tmp_path: Path, redirected: bool) -> None:
    """To a pipe, and to a file that the shell opened: what the command printed before stays before."""
    out = tmp_path / "out"
    program = (
        "from pathlib import Path; from kernels.writing import write_text; print('first', flush=True); write_text(Path('/dev/stdout'), 'x')"
    )
    before = os.lstat("/dev/stdout").st_mode
    with out.open("ab") as file:
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=file if redirected else subprocess.PIPE, check=True)
    assert (out.read_bytes() if redirected else done.stdout) == b"first\nx"
    assert os.lstat("/dev/stdout").st_mode == before


def test_what_fails_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write_file(path, fail)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.txt"]
