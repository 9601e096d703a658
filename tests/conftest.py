"""What every test of the suite shares: the same surroundings on every machine."""

from __future__ import annotations

import gc
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, settings

from benches.devices.nvml import has_gpu
from benches.devices.toolchain import Missing, missing_for_cpu
from kernels.collector import collector_paused
from kernels.interpreter import is_on, setting
from studies.crossvalidate import VARIABLE as H100_TIMINGS
from tests.reports import chromium

# What a shell, a CI, a git hook or pytest itself may have set, and what would reach the commands that tests run.
STEERS_PYTEST = ("PYTEST_",)
STEERS_GIT = ("GIT_",)  # a hook's GIT_DIR: a test's commits would land in the repository that is committed to
STEERS_OUTPUT = ("FORCE_COLOR", "NO_COLOR", "PY_COLORS", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "GITHUB_STEP_SUMMARY")
STEERS_US = ("MICROBENCH_",)
STEERS_TRITON = ("TRITON_INTERPRET", "TRITON_DISABLE_LINE_INFO")
# Read when a library is imported, so taken away before: all but where a node keeps its tools and caches.
AT_IMPORT = re.compile(r"PYTHONSAFEPATH|(TORCH|TRITON_)(?!INTERPRET$)\w*(?<!_DIR)(?<!_HOME)(?<!_PATH)")
for variable in filter(AT_IMPORT.fullmatch, list(os.environ)):
    del os.environ[variable]
WITHOUT_HYPOTHESIS = "-p no:hypothesispytest"  # as on a node without development tools; importing it takes each run half a second
RECURSION_LIMIT = sys.getrecursionlimit()
COLUMNS = "80"  # as where no terminal says otherwise; Rich would ask the terminal that pytest runs in

# The same examples on every machine and in every run, however slow the machine; `--hypothesis-profile explore` looks for new ones.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("explore"), derandomize=True, database=None)
settings.load_profile("same")


@pytest.fixture(scope="session", autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests start pytest as a user would (pytest-benchmark switches itself off where it finds xdist's variables), and read plain text of
    80 columns in UTF-8."""
    steering = (*STEERS_PYTEST, *STEERS_GIT, *STEERS_OUTPUT, *STEERS_US)
    for name in [name for name in os.environ if name.startswith(steering) and name != H100_TIMINGS]:
        del os.environ[name]
    os.environ["COLUMNS"] = COLUMNS
    os.environ["PYTHONUTF8"] = "1"
    os.environ["PYTEST_ADDOPTS"] = WITHOUT_HYPOTHESIS
    try:
        Path("~/.triton").expanduser().mkdir(exist_ok=True)
    except (OSError, RuntimeError):  # a container's user without a home
        os.environ.setdefault("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))


@pytest.fixture(scope="session", autouse=True)
def quick_interpreter() -> None:
    """Triton's interpreter, where a test file has imported it, without what takes time and changes no result."""
    if "triton" in sys.modules and is_on(setting()):
        from kernels.interpreter_fixes import quicken_interpreter

        quicken_interpreter()


@pytest.fixture(autouse=True)
def own_recursion_limit() -> None:
    """Each test has the limit of a fresh process, which PyTorch's compiler raises for good."""
    sys.setrecursionlimit(RECURSION_LIMIT)


@pytest.fixture(autouse=True)
def own_choice_of_interpreter() -> Iterator[None]:
    """A command that a test runs in this process chooses whether Triton interprets or compiles; the next test has what was there before."""
    before = {name: os.environ.get(name) for name in STEERS_TRITON}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(autouse=True)
def own_torch_state() -> Iterator[None]:
    """Each test has PyTorch's process-wide switches and random numbers as a fresh process has them, whatever ran before it."""
    torch = sys.modules.get("torch")  # most tests need none of it, and importing it takes seconds
    if torch is not None:
        torch.set_float32_matmul_precision("highest")
        torch.default_generator.manual_seed(0)  # torch.manual_seed takes 3 ms: without a GPU it notes who asked, for when there is one
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(0)
        threads = torch.get_num_threads()
    yield
    if torch is not None and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def missing_browser() -> Missing | None:
    return None if chromium.is_working() else Missing("no Chromium or Chrome on the PATH that starts", "apt-get install chromium")


def missing_board() -> Missing | None:
    return None if has_gpu() else Missing("no NVIDIA GPU", "run `pytest -m cuda tests/` on a GPU node")


def missing_git() -> Missing | None:
    return None if shutil.which("git") else Missing("no git on the PATH", "apt-get install git")


def missing_memory() -> Missing | None:
    return None if psutil.virtual_memory().available >= 3 * 2**30 else Missing("less than 3 GiB of free memory", "end what holds it")


def missing_ray() -> Missing | None:
    return None if find_spec("ray") else Missing("Ray is not installed", "pip install -r requirements-dev.txt")


def missing_timings() -> Missing | None:
    """Names the H100 timings as missing only where the variable is not set: where it is wrong, the tests run and fail."""
    unchecked = "the errors that docs/evidence.md states of the cost model on others' H100 timings were not checked"
    return None if os.environ.get(H100_TIMINGS) else Missing(unchecked, f"set {H100_TIMINGS} to the folder of these timings")


# By the marker of the tests that need it.
MISSING = {
    "browser": missing_browser,
    "compiler": missing_for_cpu,
    "git": missing_git,
    "memory": missing_memory,
    "ray": missing_ray,
    "cuda": missing_board,
    "timings": missing_timings,
}


SLOW_FILE = re.compile(r"^pytestmark = pytest\.mark\.slow$", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where slow tests are left out, a file that holds only such tests is not collected: it would make thousands of cases to deselect."""
    left_out = "not slow" in str(config.option.markexpr) and collection_path.suffix == ".py"
    return True if left_out and SLOW_FILE.search(collection_path.read_text(encoding="utf-8")) else None


# Files by the CPU time of their tests, as measured in November 2026: those that take 15 seconds or more, the longest first.
LONGEST = (
    # These two at the same time: one mostly waits, the other compiles in two processes.
    *("benches/fleet/test_cluster.py", "kernels/test_inspect.py"),
    *("benches/first_contact/test_rehearsal.py", "kernels/test_torch_impls.py", "benches/kernel/test_kernel_command.py"),
    *("benches/run/test_isolation.py", "reports/test_nightly.py", "reports/test_page.py"),
    *("reports/test_compare_noise.py", "reports/test_nightly_trouble.py", "benches/run/test_company.py", "reports/test_compare.py"),
    *("benches/run/test_gpus_run.py", "reports/test_calibrate.py", "kernels/test_triton_matmul.py", "kernels/training/test_gate.py"),
    *("studies/hopper/test_hopper.py", "benches/test_correctness.py", "reports/test_verdict.py", "kernels/test_llama_parts.py"),
    *("studies/aa/test_aa.py", "kernels/test_triton_einsum.py", "kernels/test_launches.py", "benches/cheats/test_cheats.py"),
    *("reports/test_history.py", "reports/test_compare_sides.py", "kernels/test_compiled_configs.py", "kernels/test_transformer.py"),
    *("benches/timing/test_expected.py", "benches/test_doctor_command.py", "benches/devices/test_allocations.py"),
)
PLACES = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}


def pytest_configure() -> None:
    """Tests write scripts and run them, and PyTorch's compiler loads what it has compiled, from the temporary folder."""
    folder = tempfile.gettempdir()
    if os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0):
        raise pytest.UsageError(f"{folder} is mounted noexec, so that nothing can be run in it: set TMPDIR to another folder")


def pytest_sessionstart(session: pytest.Session) -> None:
    """No test reads what was logged (`caplog`), and warnings reach the captured stderr without pytest's handlers: it would add two of them
    to each of PyTorch's forty loggers three times a test, a third of what pytest itself takes for one."""
    session.config.pluginmanager.unregister(name="logging-plugin")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need what this machine lacks are skipped. Files that take long come first, then those with most slow tests: at the end,
    when a core has nothing left to do, the other one is not in a long file."""
    marked = {item: {mark.name for mark in item.iter_markers()} for item in items}
    slow = Counter(item.path for item in items if "slow" in marked[item])
    items.sort(key=lambda item: (PLACES.get(item.path, len(PLACES)), -slow[item.path]))
    for marker, find in MISSING.items():
        needing = [item for item in items if marker in marked[item]]
        if needing and (missing := find()):
            for item in needing:
                item.add_marker(pytest.mark.skip(reason=missing.reason), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Leaves the thousands of tests and the modules that they import out of later garbage collections: each measurement of memory makes a
    full one, which took half a second."""
    with collector_paused(freeze=True):
        return (yield)


MODULES = pytest.StashKey[int]()  # how many were imported when objects were last left out of garbage collections


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
    """Leaves what a file's tests keep, and the modules that a test has imported, out of later garbage collections as well: PyTorch's
    compiler alone makes a full collection take half a second, and each measurement of memory makes several."""
    yield
    imported = len(sys.modules)
    if imported != item.session.stash.get(MODULES, 0) or nextitem is None or nextitem.path != item.path:
        gc.collect()  # or what nothing refers to any more would stay for good
        gc.freeze()
        item.session.stash[MODULES] = imported


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fails a test that is parametrized over an empty list: pytest would skip it, and says so in the reason alone."""
    if any("empty parameter set" in str(mark.kwargs.get("reason")) for mark in item.iter_markers("skip")):
        pytest.fail("parametrized over an empty list, so that it could not fail", pytrace=False)


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
