"""What a command line selects, and the options that it may not hold."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from benches.pytest_plugin import former_files
from kernels.guard import ROOT

BENCHES = ROOT / "benches"


def wants_benches(config: pytest.Config) -> bool:
    """Whether the command line names something in benches/, or a folder that holds it."""
    return any(path == BENCHES or BENCHES in path.parents or path in BENCHES.parents for path, _ in named_paths(config))


def named_paths(config: pytest.Config) -> list[tuple[Path, str]]:
    """Files and folders of the command line, each with the test that is named in it, or ""."""
    parts = [arg.partition("::") for arg in config.args]
    return [(Path(config.invocation_params.dir, path).resolve(), test) for path, _, test in parts]


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Refuses options before pytest-xdist starts its workers and before anything is written."""
    if wants_benches(config) and not config.option.help and not config.option.version:
        refuse_company(config)
        refuse_former_files(config)


# Options of pytest-xdist, -forked, -parallel and -run-parallel, by which tests run at the same time or in processes of their own.
PARALLEL = ("numprocesses", "tx", "forked", "workers", "tests_per_worker", "parallel_threads")
ONE_AT_A_TIME: tuple[Any, ...] = (None, False, 0, 1, "0", "1", "no", [])


def refuse_company(config: pytest.Config) -> None:
    """Raises pytest.UsageError where points would be measured side by side, or in a process that is not this one."""
    for name in PARALLEL:
        asked = config.getoption(name, None)
        if asked not in ONE_AT_A_TIME:
            option = f"--{name.replace('_', '-')}"
            raise pytest.UsageError(f"{option} {asked}: points are measured one after the other, in one process: leave {option} out")
    if hasattr(config, "workerinput"):
        raise pytest.UsageError("a worker of pytest-xdist: points are measured one after the other, in one process")


def refuse_former_files(config: pytest.Config) -> None:
    """Raises pytest.UsageError where the command line selects points by a file or function that one op had: it would select others."""

    def relative(argument: str) -> str:
        path, colons, test = argument.partition("::")
        absolute = Path(os.path.abspath(Path(config.invocation_params.dir, path)))
        return (absolute.relative_to(ROOT).as_posix() if absolute.is_relative_to(ROOT) else path) + colons + test

    def given(option: str) -> list[str]:
        return config.getoption(option, None) or []

    gone = [argument for argument in config.args if not Path(config.invocation_params.dir, argument.split("::")[0]).exists()]
    use = former_files.named(map(relative, gone))
    use = use or former_files.left_out([*map(relative, given("ignore")), *given("deselect")], [*map(relative, given("ignore_glob"))])
    if use is None and all(relative(argument).startswith(former_files.FOLDER) for argument in config.args):
        use = former_files.in_words(config.option.keyword)  # elsewhere a test may have such a name
    if use:
        raise pytest.UsageError(f"an op no longer has a file of its own, since {former_files.POINTS} holds every point: use {use}")
