"""What every test of the suite shares."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def children_run_alone() -> None:
    """Tests start pytest as a user would; pytest-benchmark switches itself off where it finds xdist's variables."""
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
        del os.environ[name]
