"""What the whole suite holds of its own tests: none is skipped, and none can pass, without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from studies.crossvalidate import VARIABLE
from tests.conftest import missing_timings, without_cases

CASES = """
import pytest
@pytest.mark.parametrize("x", [])
def test_none(x): assert x
@pytest.mark.parametrize("x", [0])
@pytest.mark.parametrize("y", [])
def test_half(x, y): assert x
@pytest.mark.parametrize("x", [1])
def test_one(x): assert x
@pytest.mark.skip(reason="another")
def test_skipped(): pass
"""


class Recorder:
    """What `without_cases` finds among the collected tests."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.found: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.found = [name.split("::")[1].split("[")[0] for name in without_cases(items, self.folder)]


def test_a_test_without_cases_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "test_made.py"
    path.write_text(CASES, encoding="utf-8")
    recorder = Recorder(tmp_path)
    alone = ["-p", "no:cacheprovider", "-p", "no:xdist", "-c", str(tmp_path / "none.ini"), "--rootdir", str(tmp_path)]
    (tmp_path / "none.ini").write_text("[pytest]\n", encoding="utf-8")
    assert pytest.main(["--collect-only", "-q", *alone, str(path)], plugins=[recorder]) == 0
    assert recorder.found == ["test_none", "test_half"]


@pytest.mark.parametrize("value", [None, "", "/somewhere"])
def test_what_is_not_checked_without_the_timings_is_said(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    missing = missing_timings()
    assert (missing is None) == bool(value)
    assert missing is None or "the README's errors" in missing.reason
