"""Commands write their files before they print: the files are whole even where the terminal is closed while it prints."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from reports.__main__ import main
from reports.calibrate import calibrate_command
from reports.compare import comparison, comparison_page, comparison_text
from reports.napkin import napkin_command
from reports.nightly import nightly_command
from tests.reports.test_nightly import VERDICT


def closed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def wrote(_: object, path: Path) -> Path:
    path.write_text("whole", encoding="utf-8")
    return path


def test_nightly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nightly_command, "judge_run", lambda *_: SimpleNamespace(judged=SimpleNamespace(verdict=VERDICT)))
    monkeypatch.setattr(nightly_command, "write_pages", wrote)
    monkeypatch.setattr(nightly_command, "show", closed)
    files = {option: tmp_path / option for option in ("out", "json", "junit", "markdown")}
    options = [word for option, path in files.items() for word in (f"--{option}", str(path))]
    with pytest.raises(KeyboardInterrupt):
        main(["nightly", "run", "--history", str(tmp_path), *options])
    assert all(path.stat().st_size for path in files.values())


def test_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.compare.compare_command.load_report", lambda _: None)
    found = SimpleNamespace(a=SimpleNamespace(problems=()), b=SimpleNamespace(problems=()))
    monkeypatch.setattr(comparison, "compare", lambda *_: found)
    monkeypatch.setattr(comparison_page, "write_page", wrote)
    monkeypatch.setattr(comparison_text, "show", closed)
    with pytest.raises(KeyboardInterrupt):
        main(["compare", "a", "b", "-o", str(tmp_path / "page.html")])
    assert (tmp_path / "page.html").exists()


def test_napkin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(napkin_command, "write_page", wrote)
    monkeypatch.setattr(napkin_command, "show", closed)
    with pytest.raises(KeyboardInterrupt):
        main(["napkin", "train_70b_15t", "-o", str(tmp_path / "page.html")])
    assert (tmp_path / "page.html").exists()


def test_calibrate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate_command, "load_runs", lambda *_: None)
    monkeypatch.setattr(calibrate_command, "_gpu", lambda *_: None)
    monkeypatch.setattr(calibrate_command, "_calibrate_cpu", lambda *_: calibrate_command.Calibrated("a: 1\n", "", ()))
    monkeypatch.setattr(calibrate_command, "show", closed)
    with pytest.raises(KeyboardInterrupt):
        main(["calibrate", "run", "-o", str(tmp_path / "made.yaml")])
    assert (tmp_path / "made.yaml").read_text(encoding="utf-8") == "a: 1\n"
