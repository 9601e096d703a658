"""pytest's side of a run: options, one test a point, and what a status means to pytest.

ok, noisy, throttled                                  passed, samples replayed into pytest-benchmark
verified                                              passed, without a time
unsupported, skipped                                  skipped, with the reason
wrong, impossible, oom, timeout, crashed, error       failed, with the reason
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from benches.devices.opening import NoDevice
from benches.pytest_plugin import former_files
from benches.pytest_plugin.selection import wants_benches
from benches.pytest_plugin.session import DEFAULT_SEED, IMPORTS, KEY, OUT, Session, asked_kind, point_id
from benches.row import FAILED, TIMED, Row
from benches.run.isolation import WorkerError
from benches.run.journal import JournalError
from benches.run.replay import ReplayClock, replay
from benches.run.run import DeviceLostError, RunError
from benches.sweep.load import SweepError
from kernels import interpreter
from kernels.collector import collector_paused
from kernels.escaping import one_line
from kernels.guard import ROOT
from kernels.imports import HELP, Imported, ImportProblem, load_imports, specs
from kernels.listed import first_of
from kernels.precisions import PRECISIONS
from kernels.printing import Rendered, Stream, end, say_what_was_lost
from kernels.registry import OPS

NAMED = 10  # points without a row
MEASURE_NOTHING = ("collectonly", "setuponly", "setupplan", "benchmark_skip")  # options of pytest and pytest-benchmark


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("microbench", "sweeps of kernels")
    group.addoption(
        "--sweep", action="append", metavar="NAME|PATH", help="sweep to run, repeatable (default: nightly with a GPU, else smoke)"
    )
    group.addoption("--import", dest="imports", action="append", metavar="FILE|MODULE", help=HELP)
    group.addoption("--device", choices=("auto", "cuda", "cpu", "simulated"), default="auto", help="where to measure (default: auto)")
    group.addoption("--gpus", metavar="all|0,2", help="GPUs to measure on, by index or UUID, each with a worker process of its own")
    group.addoption(
        "--mode", choices=("shard", "survey"), help="with --gpus: each point on one GPU, or on every one (default for several GPUs: survey)"
    )
    group.addoption("--shard", metavar="K/N", help="measure part K of N of the sweep, the same on every machine; `merge` joins the parts")
    group.addoption("--run-dir", type=Path, metavar="DIR", help="where to write the run (default: runs/<time>-<host>-<commit>)")
    group.addoption("--resume", type=Path, metavar="DIR", help="resume an interrupted run: only points without a row are measured")
    group.addoption("--retry-failed", action="store_true", help="with --resume: measure timed-out, crashed and failed points again")
    group.addoption("--seed", type=int, metavar="N", help=f"seed of inputs and order (default: {DEFAULT_SEED}, or that of the resumed run)")
    group.addoption("--cache", choices=("cold", "hot"), help="state of the caches when a sample starts (default: cold, on a CPU hot)")
    group.addoption("--regime", choices=("sustained", "boost"), help="back to back (default) or short bursts after idling; one per run")
    group.addoption("--energy", action="store_true", default=None, help="also run each point for 3 s to read the energy of a call")
    group.addoption("--processes", type=int, default=1, metavar="N", help="measure each point in N fresh processes; for headline points")
    group.addoption("--tune", type=Path, metavar="FILE", help="also find the fastest config of each Triton matmul, and write them to FILE")
    group.addoption("--tuned", type=Path, metavar="FILE", help="run Triton's matmul with the configs that --tune wrote to FILE")
    group.addoption("--no-inspect", action="store_true", help="without a GPU: do not compile the sweep's Triton kernels for an H100")
    group.addoption("--isolation", choices=("process", "none"), default="process", help="none: measure in pytest's own process, to debug")
    group.addoption(
        "--point-timeout", type=float, default=300.0, metavar="S", help="seconds after which a point is given up (default: 300)"
    )
    group.addoption(
        "--memory-limit", type=float, metavar="GB", help="host memory a point may take on the CPU (default: 90%% of what is free)"
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Iterator[None]:
    """Wraps the whole session: pytest restores the standard streams and flushes them again, and one that cannot be written to would change
    its exit code."""
    if not wants_benches(config) or config.option.help or config.option.version:
        return (yield)
    error = Stream(2, sys.stderr, shared=True)
    try:
        return (yield)
    except pytest.UsageError as e:
        print(*(f"ERROR: {message}\n" for message in e.args), sep="\n", file=error)
        return pytest.ExitCode.USAGE_ERROR  # type: ignore[return-value]
    finally:
        end(sys.stdout, 1)
        out = config.stash.get(OUT, None)
        if out is not None:
            sys.stdout = out
            say_what_was_lost(out, error)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Before anything is collected: a mistake in a sweep is a usage error (exit 4), one line each."""
    if not wants_benches(session.config):
        return (yield)
    with collector_paused(freeze=True):  # thousands of tests are made, and all stay
        try:
            session.config.stash[KEY] = Session(session.config)
        except SweepError as e:
            raise pytest.UsageError("\n".join(e.problems)) from None
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Before pytest makes its reporter, which takes standard output as it is then: where that cannot be written to, the run continues."""
    if wants_benches(config):
        out = config.stash[OUT] = Stream(1, sys.stdout, shared=True)
        sys.stdout = Rendered(out)
        if sys.__stderr__ is None:  # closed: pytest asks it for its descriptor, to show the stack of a crash
            sys.__stderr__ = Stream(2, None)  # type: ignore[misc]
        config.stash[IMPORTS] = imported(config)
    config.addinivalue_line("filterwarnings", "ignore:Benchmark fixture was not used at all")
    for name in sorted({*OPS, *PRECISIONS, *(impl for op in OPS.values() for impl in op.impls)}):
        config.addinivalue_line("markers", f"{name}: points with this op, implementation or precision")


def imported(config: pytest.Config) -> tuple[Imported, ...]:
    """Loads what --import and its environment variable name. Raises pytest.UsageError."""
    named = specs(config.getoption("imports"))
    try:
        if named:
            interpreter.choose(asked_kind(config))  # a file may import triton, which then interprets or compiles for good
        return load_imports(named)
    except (ImportProblem, RuntimeError) as e:
        raise pytest.UsageError(one_line(str(e))) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives `test_point` one test a point. Raises where another test wants them: each would be measured and reported twice."""
    session = metafunc.config.stash.get(KEY, None)
    if session is None or "bench" not in metafunc.fixturenames:
        return
    file = metafunc.definition.path
    if file != ROOT / former_files.POINTS:
        raise pytest.Collector.CollectError(f"{file}: {former_files.POINTS} collects the points of every op: delete this test")
    marks = cache(partial(marks_of, clock=session.clock))
    points = session.points.values()
    metafunc.parametrize("point", [pytest.param(p.id, marks=marks(p.op, p.impl, p.precision), id=p.id) for p in points])


def marks_of(op: str, impl: str, precision: str, clock: ReplayClock) -> list[pytest.MarkDecorator]:
    """Returns the marks of a point's test: what -m selects by, and the clock that replays its samples."""
    timed = pytest.mark.benchmark(group=f"{op} {precision}", timer=clock)
    return [timed, *(getattr(pytest.mark, name) for name in (op, impl, precision))]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Brings the points into the run's order."""
    session = config.stash.get(KEY, None)
    if session is None:
        return
    items.sort(key=session.place)  # random, so that a slow drift of the machine does not fall on one end of an axis, nor on one op
    if session.progress.terminal is not None:
        session.progress.terminal.showfspath = False  # a file's name for every point would be noise
    for item in items:
        if (point := point_id(item)) in session.points:
            item.extra_keyword_matches.add(point)  # in the test's own name pytest escapes what is not ASCII, and -k would miss it


@pytest.fixture
def bench(request: pytest.FixtureRequest, benchmark: Any) -> Callable[[str], None]:
    """Measures a point, journals its row and reports its outcome to pytest."""
    session = request.config.stash[KEY]
    if threading.current_thread() is not threading.main_thread() or os.getpid() != session.pid:
        kind = "thread" if os.getpid() == session.pid else "process"
        pytest.exit(f"error: another plug-in runs tests in a {kind} of its own: points are measured in pytest's main {kind}", returncode=4)
    try:
        run = session.run()
    except (RunError, NoDevice, WorkerError) as e:
        pytest.exit(one_line(f"error: {e}"), returncode=pytest.ExitCode.USAGE_ERROR)

    def record(point_id: str) -> None:
        try:
            following = session.following(request.session.items, point_id, run.ahead)
            if not benchmark.disabled:
                session.compare_side_by_side()
            row = run.row_of(session.points[point_id], timing=not benchmark.disabled, following=following)
        except (JournalError, DeviceLostError) as e:
            pytest.exit(one_line(f"error: {e}"), returncode=pytest.ExitCode.INTERNAL_ERROR)
        except SystemExit as e:  # pytest would report a failed test and continue
            code = e.code if isinstance(e.code, int) else pytest.ExitCode.INTERRUPTED
            pytest.exit(f"SystemExit: {e.code}", returncode=code)
        if row.status == "unsupported":
            session.unsupported[row.reason] += 1
        report(row, benchmark, session.clock)

    return record


def report(row: Row, benchmark: Any, clock: ReplayClock) -> None:
    """Turns a row into pytest's outcome: replays its samples, fails or skips."""
    if row.status in TIMED:
        info = {"point": row.point, "status": row.status, "flops": row.flops, "bytes": row.bytes_read + row.bytes_written}
        benchmark.extra_info.update(info)
        replay(benchmark, clock, row.samples_s)
    elif row.status in FAILED:
        pytest.fail(one_line(f"{row.status}: {row.reason}"), pytrace=False)
    elif row.status != "verified":
        pytest.skip(one_line(f"{row.status}: {row.reason}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    result = yield
    session = item.config.stash.get(KEY, None)
    if session is not None:
        session.progress.step(len(item.session.items))
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Iterator[None]:
    """Also after Ctrl-C, and before other plug-ins, which may fail: pytest-benchmark, where its JSON cannot be written."""
    found = session.config.stash.get(KEY, None)
    if found is not None:
        ended = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
        if found.started is not None:
            found.started.finish(interrupted=exitstatus not in ended)
        stopped = session.shouldfail or session.shouldstop  # by -x, --maxfail, --stepwise
        if exitstatus in ended and not stopped and not any(session.config.getoption(name, False) for name in MEASURE_NOTHING):
            found.lost = found.without_row(session.items)
        if found.lost and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
    return (yield)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Prints the last lines before pytest's closing one: points left out, limits of the device, and points without a row."""
    session = config.stash.get(KEY, None)
    if session is None:
        return
    for line in [*session.left_out(), *session.limits(), *session.tuned()]:
        terminalreporter.ensure_newline()
        terminalreporter.write_line(one_line(line), yellow=True)
    if session.lost:
        terminalreporter.ensure_newline()
        terminalreporter.write_line(one_line(f"error: {lost_points(session.lost)}"), red=True)


def lost_points(lost: list[str]) -> str:
    """Names at most NAMED of the points without a row."""
    have = "1 selected point has" if len(lost) == 1 else f"{len(lost)} selected points have"
    return f"{have} no row: {first_of(lost, NAMED)}"
