"""What every test of the suite shares: the same surroundings on every machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# What a shell, a CI or pytest itself may have set, and what would reach the commands that tests run.
STEERS_PYTEST = ("PYTEST_XDIST", "PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_DISABLE_PLUGIN_AUTOLOAD")
STEERS_OUTPUT = ("FORCE_COLOR", "NO_COLOR", "PY_COLORS", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "GITHUB_STEP_SUMMARY")
STEERS_US = ("MICROBENCH_",)
COLUMNS = "80"  # as where no terminal says otherwise; Rich would ask the terminal that pytest runs in

# The same examples on every machine and in every run, however slow the machine; `--hypothesis-profile explore` looks for new ones.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("explore"), derandomize=True, database=None)
settings.load_profile("same")


@pytest.fixture(scope="session", autouse=True)
def surroundings() -> None:
    """Tests start pytest as a user would (pytest-benchmark switches itself off where it finds xdist's variables), and read plain text of
    80 columns."""
    for name in [name for name in os.environ if name.startswith((*STEERS_PYTEST, *STEERS_OUTPUT, *STEERS_US))]:
        del os.environ[name]
    os.environ["COLUMNS"] = COLUMNS


@pytest.fixture(autouse=True)
def own_torch_state() -> Iterator[None]:
    """Each test has PyTorch's process-wide switches and random numbers as a fresh process has them, whatever ran before it."""
    torch = sys.modules.get("torch")  # most tests need none of it, and importing it takes seconds
    if torch is not None:
        torch.set_float32_matmul_precision("highest")
        torch.manual_seed(0)
        threads = torch.get_num_threads()
    yield
    if torch is not None and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
