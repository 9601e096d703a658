"""Runs in read-only folders: files asked for elsewhere are written, and what cannot be written is reported in one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from reports.__main__ import main
from reports.calibrate import calibrate_command
from reports.nightly import rerun
from tests.read_only import read_only
from tests.reports.surveys import make_survey
from tests.reports.test_validation import contact  # noqa: F401

pytestmark = pytest.mark.slow

MakeRun = Callable[..., Path]


@pytest.mark.parametrize(
    ("words", "default"),
    [
        (("html", "A"), "A/report.html"),
        (("compare", "A", "B"), "B/compare-cuda-small.html"),
        (("nightly", "A", "--history", "H"), "the page (-o names another place)"),
    ],
)
def test_a_page_is_written_elsewhere(
    words: tuple[str, ...], default: str, make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"A": make_run("cuda"), "B": make_run("cuda", "node") if "B" in words else tmp_path, "H": tmp_path / "history"}
    out = tmp_path / "page.html"
    command = [str(places.get(word, word)) for word in words]
    with read_only(*(places[name] for name in "AB" if name in words)):
        assert main([*command, "-o", str(out)]) == 0, capsys.readouterr().err
        err = capsys.readouterr().err
        assert main(command) == 2
    assert out.stat().st_size > 1_000_000
    expected = f"note: {places['A']}: rows.parquet and rows.csv were not written (Read-only file system)\n" if words[0] == "html" else ""
    assert err == expected
    said = capsys.readouterr().err
    folder, _, name = default.partition("/")
    where = f"{places[folder]}/{name}" if folder in places else default
    assert said.startswith(f"error: {where}")
    assert "Read-only file system" in said
    assert "-o" in said
    assert len(said.splitlines()) == 1


def test_the_page_of_a_survey_is_written_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = make_survey(tmp_path / "run", 3, 2), tmp_path / "survey.html"
    with read_only(run):
        assert main(["html", str(run), "-o", str(out)]) == 0
        told = capsys.readouterr()
        assert main(["html", str(run)]) == 2
    assert out.stat().st_size > 1_000_000
    assert told.out == f"{out}\n"
    lines = told.err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["note"] * 3 + ["warning"]  # a page for each GPU, and survey.parquet
    assert all("Read-only file system" in line for line in lines)
    assert "error: " in capsys.readouterr().err


def test_constants_are_written_elsewhere(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = make_run("cuda"), tmp_path / "constants.yaml"
    monkeypatch.setattr(
        calibrate_command, "_calibrate_gpu", lambda *arguments: calibrate_command.Calibrated("fitted\n", "there", [])
    )  # a fit takes half a minute
    with read_only(run):
        assert main(["calibrate", str(run), "-o", str(out)]) == 0
        assert main(["calibrate", str(run)]) == 2
    assert out.is_file()
    assert capsys.readouterr().err == (
        f"error: {run}/calibration.yaml: cannot be written (Read-only file system): name another place with -o\n"
    )


def test_a_boards_folder_is_made_elsewhere(contact: Path, tmp_path: Path) -> None:  # noqa: F811
    with read_only(contact):
        assert main(["validation", str(contact), "-o", str(tmp_path / "out")]) == 0


def test_a_rerun_goes_to_a_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def note(command: list[str], **more: object) -> None:
        asked.append(command)
        raise OSError("not started")

    monkeypatch.setattr(rerun.subprocess, "run", note)
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    assert rerun.measure_again(tmp_path, {}, ["p"]) == ({}, "the rerun could not be started: not started")
    target = Path(asked[0][asked[0].index("--run-dir") + 1])
    assert tmp_path not in target.parents
    target.parent.rmdir()
