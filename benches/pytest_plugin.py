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
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
import pytest

from benches.devices.opening import NoDevice, automatic_kind
from benches.devices.toolchain import missing_for_cpu, missing_for_cuda
from benches.row import FAILED, TIMED, Row
from benches.run import environment
from benches.run.bench import Bench
from benches.run.isolation import InProcess, Isolated, Measurer, WorkerError
from benches.run.journal import JournalError
from benches.run.narrowing import narrowed_by
from benches.run.order import shuffled
from benches.run.replay import ReplayClock, replay
from benches.run.run import DeviceLostError, Request, Run, RunError, default_run_dir
from benches.sweep.load import Sweep, SweepError, load_sweeps
from kernels.escaping import one_line
from kernels.guard import ROOT
from kernels.op import Point
from kernels.precisions import PRECISIONS
from kernels.printing import Rendered, Stream, end, say_what_was_lost
from kernels.registry import OPS

BENCHES = ROOT / "benches"
PROGRESS_EVERY_S = 30.0
CALLS_OF_A_LONG_POINT = 18
DEFAULT_SEED = 20260101
NAMED = 10  # points without a row
MEASURE_NOTHING = ("collectonly", "setuponly", "setupplan", "benchmark_skip")  # options of pytest and pytest-benchmark


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("microbench", "sweeps of kernels")
    group.addoption(
        "--sweep", action="append", metavar="NAME|PATH", help="sweep to run, repeatable (default: nightly with a GPU, else smoke)"
    )
    group.addoption("--device", choices=("auto", "cuda", "cpu", "simulated"), default="auto", help="where to measure (default: auto)")
    group.addoption("--run-dir", type=Path, metavar="DIR", help="where to write the run (default: runs/<time>-<host>-<commit>)")
    group.addoption("--resume", type=Path, metavar="DIR", help="resume an interrupted run: only points without a row are measured")
    group.addoption("--retry-failed", action="store_true", help="with --resume: measure again what timed out, crashed or raised an error")
    group.addoption("--seed", type=int, metavar="N", help=f"seed of inputs and order (default: {DEFAULT_SEED}, or that of the resumed run)")
    group.addoption("--cache", choices=("cold", "hot"), help="what caches hold when a sample starts (default: cold, on a CPU hot)")
    group.addoption("--regime", choices=("sustained", "boost"), help="back to back (default), or short bursts after idling; one a run")
    group.addoption("--energy", action="store_true", default=None, help="also run each point for 3 s to read the energy of a call")
    group.addoption("--processes", type=int, default=1, metavar="N", help="measure each point in N fresh processes; for headline points")
    group.addoption("--no-inspect", action="store_true", help="without a GPU: do not compile the sweep's Triton kernels for an H100")
    group.addoption("--isolation", choices=("process", "none"), default="process", help="none: measure in pytest's own process, to debug")
    group.addoption(
        "--point-timeout", type=float, default=300.0, metavar="S", help="seconds after which a point is given up (default: 300)"
    )
    group.addoption(
        "--memory-limit", type=float, metavar="GB", help="host memory a point may take on the CPU (default: 90%% of what is free)"
    )


class Session:
    """One pytest session's sweep, and its run once the first point is measured."""

    def __init__(self, config: pytest.Config):
        self.config, self.pid = config, os.getpid()
        self.resumed: Path | None = config.getoption("--resume")
        self.before = before = resumed_environment(self.resumed) if self.resumed else {}
        self.device_kind: str = config.getoption("--device")
        if self.device_kind == "auto":
            self.device_kind = before.get("device_kind") or automatic_kind()
        asked: int | None = config.getoption("--seed")
        self.seed = int(before.get("seed", DEFAULT_SEED)) if asked is None else asked
        default = self.resumed / "sweep.yaml" if self.resumed else "nightly" if self.device_kind == "cuda" else "smoke"
        self.sweep: Sweep = load_sweeps(config.getoption("--sweep") or [default])
        self.points: dict[str, Point] = {point.id: point for point in self.sweep.points}
        self._order = {name: place for place, name in enumerate(shuffled(list(self.points), self.seed))}
        self.clock = ReplayClock()
        self.unsupported: Counter[str | None] = Counter()  # points by reason
        self._run: Run | None = None
        self.lost: list[str] = []  # points that were selected and have no row
        self.progress = Progress(config)

    def ids(self, op: str) -> list[str]:
        return [point.id for point in self.sweep.points if point.op == op]

    def place(self, item: pytest.Item) -> int:
        """Returns the place of a test's point in the run's order; a test without a point comes first."""
        return self._order.get(point_id(item), -1)

    @property
    def started(self) -> Run | None:
        return self._run

    def run(self) -> Run:
        """Opens the device and the run directory at first use. Raises RunError, NoDevice or WorkerError."""
        if self._run is None:
            use_triton_interpreter(self.device_kind)
            run_dir = self.resumed or self.config.getoption("--run-dir") or default_run_dir()
            self._run = Run(run_dir, lambda: self._open_measurer(run_dir), self._request())
            self.progress.tell(self._run.notes, important=True)
        return self._run

    def without_row(self, items: list[pytest.Item]) -> list[str]:
        """Returns the points of these tests that have no row in the run."""
        recorded = self._run.recorded if self._run else set()
        return [name for name in map(point_id, items) if name in self.points and name not in recorded]

    def left_out(self) -> list[str]:
        """A line for what this machine lacks, where points needed it."""
        missing = {"cuda": missing_for_cuda, "cpu": missing_for_cpu}.get(self.device_kind, lambda: None)()
        count = self.unsupported[missing.reason] if missing else 0
        return [f"note: {count} {'point' if count == 1 else 'points'} unsupported: {missing.reason}"] if missing and count else []

    def limits(self) -> list[str]:
        """A line for each thing that the device lacks and a reader of its figures must know: peaks on a MIG slice, NVML's readings."""
        return [f"note: {note}" for note in self._run.environment.get("notes", [])] if self._run else []

    def _request(self) -> Request:
        if self.device_kind != "cpu" and self.config.getoption("--memory-limit") is not None:
            raise RunError("--memory-limit is for --device cpu: a CUDA context maps far more address space than it uses")
        asked = {name: self.config.getoption(f"--{name}") for name in ("cache", "regime", "energy")}
        if self.device_kind == "cpu" and asked["cache"] == "cold":
            raise RunError("--cache cold: a CPU's caches are not controlled here; points are hot")
        if self.device_kind != "cpu":  # warm-up, gates and the fewest samples of a long call, within the limit of a point
            asked["max_call_s"] = self.config.getoption("--point-timeout") / CALLS_OF_A_LONG_POINT
        return Request(
            resolved=self.sweep.resolved,
            sweeps=[self.sweep.name],
            seed=self.seed,
            settings={name: value for name, value in asked.items() if value is not None},
            processes=self.config.getoption("--processes"),
            resuming=self.resumed is not None,
            retry=self.config.getoption("--retry-failed"),
            narrowed_by=narrowed_by(vars(self.config.option), named_paths(self.config), BENCHES),
        )

    def _open_measurer(self, run_dir: Path) -> Measurer:
        if self.device_kind == "cpu" and not self.before:
            self.progress.tell(["measuring what this CPU reaches at best, about 15 s"])
        opening: dict[str, Any] = {"kind": self.device_kind, "run_dir": run_dir, "seed": self.seed, "asked": self._request().settings}
        opening["described"] = self.before if self.before.get("ceilings") else None
        if self.config.getoption("--isolation") == "none":
            return InProcess(Bench(**opening))
        gigabytes: float | None = self.config.getoption("--memory-limit")
        limit = free_memory_share() if gigabytes is None else int(gigabytes * 1e9)
        memory = limit if self.device_kind == "cpu" else None
        limit_s = self.config.getoption("--point-timeout")
        return Isolated(opening, run_dir / "worker.log", limit_s, memory, ends=(pytest.exit.Exception,))


KEY = pytest.StashKey[Session]()
OUT = pytest.StashKey[Stream]()  # what this session prints to


def resumed_environment(run_dir: Path) -> dict[str, Any]:
    """Returns the environment of the run to resume. Raises pytest.UsageError where the directory holds no run."""
    try:
        return environment.read(run_dir)
    except (OSError, ValueError) as e:
        raise pytest.UsageError(f"--resume {run_dir}: no run to resume ({e})") from None


def free_memory_share() -> int:
    """Bytes: what a worker may take before it, and not another process, is refused memory."""
    return int(0.9 * psutil.virtual_memory().available)


def use_triton_interpreter(device_kind: str) -> None:
    """Triton reads the environment when it is imported, here or in a worker, so this must come before."""
    if device_kind == "cuda":
        os.environ.pop("TRITON_INTERPRET", None)  # it would time the interpreter
        os.environ.setdefault("TRITON_DISABLE_LINE_INFO", "1")  # so that a cubin's hash is that of its instructions
    if device_kind != "cpu":
        return
    if "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") != "1":
        raise RunError("triton was imported before the run could choose its interpreter: set TRITON_INTERPRET=1")
    os.environ["TRITON_INTERPRET"] = "1"


def wants_benches(config: pytest.Config) -> bool:
    """Whether the command line names something in benches/, or a folder that holds it."""
    return any(path == BENCHES or BENCHES in path.parents or path in BENCHES.parents for path, _ in named_paths(config))


def named_paths(config: pytest.Config) -> list[tuple[Path, str]]:
    """Files and folders of the command line, each with the test that is named in it, or ""."""
    parts = [arg.partition("::") for arg in config.args]
    return [(Path(config.invocation_params.dir, path).resolve(), test) for path, _, test in parts]


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


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Iterator[None]:
    """Around the whole session: before pytest-xdist, which would start its workers, and before anything is written; and after pytest has
    put back the standard streams. It flushes them once more, and where they cannot be written to its exit code would be another."""
    if not wants_benches(config) or config.option.help or config.option.version:
        return (yield)
    error = Stream(2, sys.stderr, shared=True)
    try:
        refuse_company(config)
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


def pytest_collection(session: pytest.Session) -> None:
    """Before anything is collected: a mistake in a sweep is a usage error (exit 4), one line each."""
    if not wants_benches(session.config):
        return
    try:
        session.config.stash[KEY] = Session(session.config)
    except SweepError as e:
        raise pytest.UsageError("\n".join(e.problems)) from None


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Before pytest makes its reporter, which takes standard output as it is then: where that cannot be written to, the run goes on."""
    if wants_benches(config):
        out = config.stash[OUT] = Stream(1, sys.stdout, shared=True)
        sys.stdout = Rendered(out)
        if sys.__stderr__ is None:  # closed: pytest asks it for its descriptor, to show the stack of a crash
            sys.__stderr__ = Stream(2, None)  # type: ignore[misc]
    config.addinivalue_line("filterwarnings", "ignore:Benchmark fixture was not used at all")
    for name in sorted({*OPS, *PRECISIONS, *(impl for op in OPS.values() for impl in op.impls)}):
        config.addinivalue_line("markers", f"{name}: points with this op, implementation or precision")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`test_<op>(point)` gets one test a point of that op."""
    session = metafunc.config.stash.get(KEY, None)
    if session is None or "bench" not in metafunc.fixturenames:
        return
    op = metafunc.function.__name__.removeprefix("test_")
    metafunc.parametrize("point", session.ids(op), ids=str)


def point_id(item: pytest.Item) -> str:
    """The id of a test's point; "" for a test without one."""
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("point")) if callspec else ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks every point with its op, implementation and precision, and with the clock that replays its samples."""
    session = config.stash.get(KEY, None)
    if session is None:
        return
    items[:] = [item for item in items if "[NOTSET]" not in item.name]  # what pytest makes of an op without points
    items.sort(key=session.place)  # random, so that a slow drift of the machine does not fall on one end of an axis, nor on one op
    if session.progress.terminal is not None:
        session.progress.terminal.showfspath = False  # a file's name for every point would be noise
    for item in items:
        point = session.points.get(point_id(item))
        if point is None:
            continue
        for name in (point.op, point.impl, point.precision):
            item.add_marker(name)
        item.extra_keyword_matches.add(point.id)  # in the test's own name pytest escapes what is not ASCII, and -k would miss it
        closest = item.get_closest_marker("benchmark")  # only the closest counts to pytest-benchmark, so merge
        options = {"group": f"{point.op} {point.precision}", **(closest.kwargs if closest else {}), "timer": session.clock}
        item.add_marker(pytest.mark.benchmark(**options), append=False)


@pytest.fixture
def bench(request: pytest.FixtureRequest, benchmark: Any) -> Callable[[str], None]:
    """Measures a point, journals its row and tells pytest how it ended."""
    session = request.config.stash[KEY]
    if threading.current_thread() is not threading.main_thread() or os.getpid() != session.pid:
        where = "a thread" if os.getpid() == session.pid else "a process"
        pytest.exit(f"error: another plug-in runs tests in {where} of its own: points are measured in pytest's main one", returncode=4)
    try:
        run = session.run()
    except (RunError, NoDevice, WorkerError) as e:
        pytest.exit(one_line(f"error: {e}"), returncode=pytest.ExitCode.USAGE_ERROR)

    def measure(point_id: str) -> None:
        try:
            row = run.measure(session.points[point_id], timing=not benchmark.disabled)
        except (JournalError, DeviceLostError) as e:
            pytest.exit(one_line(f"error: {e}"), returncode=pytest.ExitCode.INTERNAL_ERROR)
        except SystemExit as e:  # pytest would call the test failed and go on
            code = e.code if isinstance(e.code, int) else pytest.ExitCode.INTERRUPTED
            pytest.exit(f"SystemExit: {e.code}", returncode=code)
        if row.status == "unsupported":
            session.unsupported[row.reason] += 1
        report(row, benchmark, session.clock)

    return measure


def report(row: Row, benchmark: Any, clock: ReplayClock) -> None:
    """A row as pytest's outcome."""
    if row.status in TIMED:
        info = {"point": row.point, "status": row.status, "flops": row.flops, "bytes": row.bytes_read + row.bytes_written}
        benchmark.extra_info.update(info)
        replay(benchmark, clock, row.samples_s)
    elif row.status in FAILED:
        pytest.fail(one_line(f"{row.status}: {row.reason}"), pytrace=False)
    elif row.status != "verified":
        pytest.skip(one_line(f"{row.status}: {row.reason}"))


class Progress:
    """Time left, now and then, on a terminal only: a CI log and -q stay quiet."""

    def __init__(self, config: pytest.Config):
        self.config = config
        self.terminal: Any = config.pluginmanager.get_plugin("terminalreporter")
        self.capture: Any = config.pluginmanager.get_plugin("capturemanager")
        at_terminal = all(stream is not None and stream.isatty() for stream in (sys.stdout, sys.stderr))  # None: closed
        self.shown = self.terminal is not None and at_terminal and config.get_verbosity() >= 0
        self.start = self.last = time.monotonic()
        self.done = 0

    def tell(self, notes: list[str], important: bool = False) -> None:
        """Shown whatever pytest captures just now; under -q only what is important, and nothing without a terminal reporter."""
        if self.terminal is None or (self.config.get_verbosity() < 0 and not important):
            return
        with self.capture.global_and_fixture_disabled() if self.capture else nullcontext():
            for note in notes:
                self.terminal.ensure_newline()
                self.terminal.write_line(one_line(note), yellow=True)

    def step(self, total: int) -> None:
        self.done += 1
        now = time.monotonic()
        if self.shown and now - self.last >= PROGRESS_EVERY_S and self.done < total:
            self.last = now
            left = (now - self.start) / self.done * (total - self.done)
            self.terminal.ensure_newline()
            self.terminal.write_line(f"{self.done} of {total} points, about {minutes(left)} left", cyan=True)


def minutes(seconds: float) -> str:
    """Seconds as a reader takes them."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


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
    """The last lines before pytest's closing one: what was left out, and what the figures lack."""
    session = config.stash.get(KEY, None)
    if session is None:
        return
    for line in [*session.left_out(), *session.limits()]:
        terminalreporter.ensure_newline()
        terminalreporter.write_line(one_line(line), yellow=True)
    if session.lost:
        terminalreporter.ensure_newline()
        terminalreporter.write_line(one_line(f"error: {lost_points(session.lost)}"), red=True)


def lost_points(lost: list[str]) -> str:
    """Names at most NAMED of the points without a row."""
    more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
    have = "1 selected point has" if len(lost) == 1 else f"{len(lost)} selected points have"
    return f"{have} no row: {', '.join(lost[:NAMED])}{more}"
