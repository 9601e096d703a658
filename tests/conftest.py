"""What every test of the suite shares."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from benches.toolchain import Missing, missing_for_cpu


@pytest.fixture(scope="session", autouse=True)
def children_run_alone() -> None:
    """Tests start pytest as a user would; pytest-benchmark switches itself off where it finds xdist's variables."""
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
        del os.environ[name]


def missing_browser() -> Missing | None:
    browsers = ("chromium", "chromium-browser", "google-chrome")
    return None if any(map(shutil.which, browsers)) else Missing("no Chromium or Chrome on the PATH", "apt-get install chromium")


MISSING = {"browser": missing_browser, "compiler": missing_for_cpu}  # by the marker of the tests that need it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need what this machine lacks are skipped."""
    for marker, find in MISSING.items():
        needing = [item for item in items if item.get_closest_marker(marker)]
        if needing and (missing := find()):
            for item in needing:
                item.add_marker(pytest.mark.skip(reason=missing.reason), append=False)


def left_out(skipped: list[Any]) -> Iterator[str]:
    """A line for each thing that skipped tests, given by their reports, would have needed."""
    for marker, find in MISSING.items():
        count = sum(marker in report.keywords for report in skipped)
        if count and (missing := find()):
            yield f"note: {count} {'test' if count == 1 else 'tests'} skipped: {missing.reason}"


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The last lines before pytest's closing one."""
    for line in left_out(terminalreporter.stats.get("skipped", [])):
        terminalreporter.ensure_newline()
        terminalreporter.write_line(line, yellow=True)
