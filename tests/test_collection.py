"""What the whole suite holds of its own tests: none is left out, and none can pass, without a word."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from studies.crossvalidate import VARIABLE
from tests.conftest import AT_IMPORT, PLACES, missing_memory, missing_timings, pytest_runtest_setup

CASES = """
import pytest
@pytest.mark.parametrize("x", [])
def test_none(x): pass
@pytest.mark.parametrize("x", [0])
@pytest.mark.parametrize("y", [])
def test_half(x, y): pass
@pytest.mark.parametrize("x", [1])
def test_one(x): pass
@pytest.mark.skip(reason="another")
def test_skipped(): pass
"""


class Recorder:
    """How each test ended before its teardown."""

    pytest_runtest_setup = staticmethod(pytest_runtest_setup)

    def __init__(self) -> None:
        self.ended: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "teardown":
            self.ended[report.nodeid.split("::")[1].split("[")[0]] = report.outcome


def test_a_test_without_cases_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test_made.py").write_text(CASES, encoding="utf-8")
    (tmp_path / "none.ini").write_text("[pytest]\n", encoding="utf-8")
    recorder = Recorder()
    alone = ["-p", "no:cacheprovider", "-p", "no:xdist", "-c", str(tmp_path / "none.ini"), "--rootdir", str(tmp_path)]
    assert pytest.main([*alone, str(tmp_path / "test_made.py")], plugins=[recorder]) == 1
    assert recorder.ended == {"test_none": "failed", "test_half": "failed", "test_one": "passed", "test_skipped": "skipped"}
    assert "parametrized over an empty list" in capsys.readouterr().out


@pytest.mark.parametrize("value", [None, "", "/somewhere"])
def test_what_is_not_checked_without_the_timings_is_said(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    missing = missing_timings()
    assert (missing is None) == bool(value)
    assert missing is None or "the errors that docs/evidence.md states" in missing.reason


def test_the_files_that_are_started_first_exist() -> None:
    assert [str(path) for path in PLACES if not path.is_file()] == []


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("PYTHONSAFEPATH", True),
        ("PYTHONPATH", False),
        ("TRITON_ALWAYS_COMPILE", True),
        ("TRITON_PTXAS_PATH", False),  # where a node's container has its tools
        ("TRITON_CACHE_DIR", False),
        ("TRITON_HOME", False),
        ("TRITON_INTERPRET", False),  # a test file says it of itself
        ("TORCH_COMPILE_DISABLE", True),
        ("TORCHINDUCTOR_MAX_AUTOTUNE", True),
        ("TORCHINDUCTOR_CACHE_DIR", False),
    ],
)
def test_what_a_shell_set_for_a_library_is_taken_away_but_not_where_things_are(name: str, taken: bool) -> None:
    assert (AT_IMPORT.fullmatch(name) is not None) == taken


@pytest.mark.parametrize(("free", "enough"), [(3 * 2**30, True), (3 * 2**30 - 1, False)])
def test_memory_is_missing_below_what_the_marker_says(free: int, enough: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.conftest.psutil.virtual_memory", lambda: SimpleNamespace(available=free))
    assert (missing_memory() is None) == enough
