"""The steps of a first contact: each has a time, a worker of its own, and gives its checks as they are known."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import pynvml

from benches.devices.cores import allowed_cpus
from benches.devices.nvml import ask
from benches.doctor import selftest
from benches.first_contact import board_facts, clock_checks, clockwork, counters, faults, rows
from benches.first_contact.check import Check, Verdict, one_of, within
from benches.first_contact.output import LOG, append, read_measured
from benches.first_contact.pool import Late, run_all, run_one
from benches.plan import make_plan
from benches.row import CONTEXT_LOST, DEVICE_LOST, TIMED, Row
from benches.run import worker
from benches.run.isolation import Isolated, Measurer, row_of
from benches.run.journal import Journal
from benches.run.order import shuffled
from benches.sweep.load import load_sweep
from benches.timing.failure import cause_of
from benches.timing.measure import measure
from kernels.cost_model import predict
from kernels.gpus import DEFAULT_GPU, Gpu, load_gpu
from kernels.imports import Imported
from kernels.op import Point
from kernels.registry import OPS, impl_of
from kernels.support import Platform

SWEEP = "first_contact"
QUICK = {"warmup_s": 0.1, "warmup_max_s": 0.1, "max_samples": 30, "max_s": 1.0}  # Settings of all steps but real settings
POINT_S = 40.0  # a point that takes longer is given up
FAULT_S = 8.0  # a faulty one: that an endless kernel is ended need not take longer
LEAST_S = 8.0  # a step with less is not started: importing torch and opening a board take most of it
GRACE_S = 6.0  # a step that goes on for so long beyond its time is cut off
NIGHTLY, NIGHTLY_POINTS = "nightly", 12
WORKERS, CORES_LEFT = 12, 2
MEMORY_KEPT, MEMORY_WAIT_S = 64 * 2**20, 6.0  # bytes that a board may hold more than before, and how long the driver may take


class Cut(BaseException):
    """The step's time is over. Not an Exception: whatever catches those must not catch this."""


@dataclass
class Contact:
    """What every step gets."""

    out: Path
    scratch: Path  # for what is not kept
    kind: str  # cuda or simulated
    seed: int
    imports: tuple[Imported, ...] = ()  # other people's files, which each worker loads
    described: dict[str, Any] = field(default_factory=dict)  # what Device.describe returns
    journal: Journal | None = None
    end_s: float = 0.0  # of the step that runs now, by time.monotonic

    @property
    def log(self) -> Path:
        return self.out / LOG

    @property
    def gpu(self) -> Gpu | None:
        name = self.described.get("gpu")
        return load_gpu(name) if name else None

    def opening(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Arguments of Bench."""
        return {
            "kind": self.kind,
            "run_dir": self.scratch,
            "seed": self.seed,
            "asked": asked,
            "imports": [one.again for one in self.imports],
        }

    def left_s(self) -> float:
        """Seconds of this step."""
        return max(0.0, self.end_s - time.monotonic())

    def measured(self, measurer: Measurer, point: Point) -> Row:
        """The point's row, on the disk before it is given."""
        row = row_of(measurer, point, timing=True)
        if self.journal is None:
            self.journal = Journal(self.out)
        self.journal.append(row)
        return row


@dataclass(frozen=True)
class Step:
    """A step's share of the time is in proportion to `seconds`, and at least `least_s`: workers import torch and open the board first."""

    name: str
    seconds: float
    least_s: float
    run: Callable[[Contact], Iterator[Check]]


def step_facts(contact: Contact) -> Iterator[Check]:
    found = run_one(board_facts.run, (str(contact.out),), contact.opening(QUICK), contact.log, contact.left_s())
    yield from board_facts.judge_facts(found, contact.gpu)


def step_clockwork(contact: Contact) -> Iterator[Check]:
    """What was measured before the time budget was used up is judged."""
    with suppress(Late):
        run_one(clockwork.run, (str(contact.out), contact.seed), contact.opening(QUICK), contact.log, contact.left_s())
    yield from clock_checks.judge(read_measured(contact.out))


def kernel_points(kinds: Callable[[Point], bool]) -> list[Point]:
    """Those of the sweep."""
    return [point for point in load_sweep(SWEEP).points if kinds(point)]


def step_compile(contact: Contact) -> Iterator[Check]:
    """Every kernel of the later steps is compiled, in parallel, into the cache that their workers use.

    A simulated board launches nothing: there a kernel of each op and precision is compiled ahead of time.
    """
    if contact.kind == "simulated":
        yield from compiled_ahead(contact, load_gpu(contact.described["gpu"]))
        return
    points = kernel_points(lambda point: impl_of(point).compiled)
    arguments = [(point, contact.seed) for point in points]
    yield from compiled(contact, [point.id for point in points], build_point, arguments)


def compiled(contact: Contact, names: Sequence[str], function: Callable[..., float | str], arguments: Sequence[Any]) -> Iterator[Check]:
    """A check for each name: its function's seconds in a worker, or why it is not supported."""
    for place, result in run_all(function, arguments, contact.opening(QUICK), contact.log, workers(), contact.left_s()):
        name = f"{names[place]}: compiles"
        if isinstance(result, Late):
            yield Check("compile", name, None, "s", "compiled", "unfinished", str(result))
        elif isinstance(result, BaseException):
            yield Check("compile", name, None, "s", "compiled", "fail", f"{type(result).__name__}: {result}")
        elif isinstance(result, str):
            yield Check("compile", name, result, "", "compiled, or unsupported with a reason", "pass")
        else:
            yield Check("compile", name, round(result, 3), "s", "compiled", "pass")


def compiled_ahead(contact: Contact, gpu: Gpu) -> Iterator[Check]:
    """Which kernels there are is asked in a worker too: this process imports no Triton."""
    names = run_one(compilation_names, (), contact.opening(QUICK), contact.log, contact.left_s())
    yield from compiled(contact, names, build_ahead, [(name, gpu) for name in names])


def compilation_names() -> list[str]:
    """In a worker: the first compilation of each op and precision."""
    from kernels.inspect_gather import gather

    found = gather(OPS.values())
    return list({(compilation.op, compilation.precision): compilation.id for compilation in reversed(found)}.values())


def build_ahead(name: str, gpu: Gpu) -> float | str:
    """In a worker: seconds to compile, or why it is not supported. Raises RuntimeError where it does not compile."""
    from kernels.ahead_of_time import Finding, build
    from kernels.inspect_gather import gather

    (compilation,) = [found for found in gather(OPS.values()) if found.id == name]
    built = build(compilation, gpu)
    if not isinstance(built, Finding):
        return built.seconds
    if built.status == "unsupported":
        return f"unsupported: {built.reasons[0]}"
    raise RuntimeError("; ".join(built.reasons))


def workers() -> int:
    """Returns the number of processes that compile or check in parallel, on the logical CPUs that this process may use."""
    return max(1, min(WORKERS, len(allowed_cpus() or range(os.cpu_count() or 1)) - CORES_LEFT))


def build_point(point: Point, seed: int) -> float | str:
    """In a worker: seconds to make the operands and to compile and launch the kernel once, or why it is not supported.

    A worker whose CUDA context may be beyond repair ends, so that its next point is built in another one.
    """
    device = worker.bench().device
    impl = impl_of(point)
    why = impl.unsupported(point, device.platform(impl.language))
    if why:
        return f"unsupported: {why}"
    begin = time.perf_counter()
    try:
        device.load(point, seed)
    except Exception as error:
        traceback.print_exc()
        if cause_of(error):
            os._exit(1)
        raise
    return time.perf_counter() - begin


def step_kernels(contact: Contact) -> Iterator[Check]:
    yield from measured(contact, "kernels", kernel_points(lambda point: not impl_of(point).by_torch_compile), QUICK)


def step_torch_compile(contact: Contact) -> Iterator[Check]:
    yield from measured(contact, "torch.compile", kernel_points(lambda point: impl_of(point).by_torch_compile), QUICK)


def measured(contact: Contact, step: str, points: Sequence[Point], asked: dict[str, Any]) -> Iterator[Check]:
    """Rows of the points in a random order, each judged; the last check counts those that there was time for."""
    done = 0
    for row, predicted_s in measure_all(contact, points, asked):
        done += 1
        yield from rows.judge_row(step, row, predicted_s)
    yield Check(step, "points measured", done, "", str(len(points)), "pass" if done == len(points) else "unfinished")


def measure_all(contact: Contact, points: Sequence[Point], asked: dict[str, Any]) -> Iterator[tuple[Row, float | None]]:
    """(row, predicted seconds) of each point that there is time for, each row on the disk before it is given."""
    by_id = {point.id: point for point in points}
    measurer = Isolated(contact.opening(asked), contact.log, min(POINT_S, contact.left_s()))
    try:
        for name in shuffled(list(by_id), contact.seed):
            if contact.left_s() <= 0:
                return
            point = by_id[name]
            yield contact.measured(measurer, point), predicted(point, contact.gpu)
    finally:
        measurer.close()


def predicted(point: Point, gpu: Gpu | None) -> float | None:
    """Analytic seconds of a cold call, where the board is known."""
    return float(predict([point], gpu).predicted_s[0]) if gpu else None


def step_faults(contact: Contact) -> Iterator[Check]:
    """A kernel that goes wrong costs its point, and the next point is measured."""
    before = memory_used(contact)
    measurer = Isolated(contact.opening(QUICK), contact.log, FAULT_S, call=faults.measure_planted)
    try:
        for point in faults.points():
            yield faults.judge_row(point.label, contact.measured(measurer, point))
    finally:
        measurer.close()
    if before is not None:
        end = time.monotonic() + MEMORY_WAIT_S
        while (after := memory_used(contact) or 0) > before + MEMORY_KEPT and time.monotonic() < end:
            time.sleep(0.2)
        yield faults.judge_memory(before, after, MEMORY_KEPT)


def memory_used(contact: Contact) -> int | None:
    """Bytes in use on the board by NVML; None where there is no board."""
    uuid = contact.described.get("device_uuid")
    if contact.kind != "cuda" or not uuid or not ask(lambda: pynvml.nvmlInit() or True):
        return None
    handle = ask(pynvml.nvmlDeviceGetHandleByUUID, uuid.encode())
    memory = ask(pynvml.nvmlDeviceGetMemoryInfo, handle) if handle else None
    return int(memory.used) if memory else None


def step_settings(contact: Contact) -> Iterator[Check]:
    """Some points of the nightly sweep at full settings: what each takes, and what the whole night would."""
    gpu = contact.gpu or load_gpu(DEFAULT_GPU)
    plan = make_plan(load_sweep(NIGHTLY), gpu)
    runs = {point.id: point for point, fits in zip(plan.points, plan.runs, strict=True) if fits}
    chosen = [runs[name] for name in shuffled(list(runs), contact.seed)[:NIGHTLY_POINTS]]
    walls = []
    for row, _ in measure_all(contact, chosen, {}):
        yield one_of("real settings", f"{row.point}: status", row.status, (*TIMED, "unsupported"), str(row.reason))
        yield Check("real settings", f"{row.point}: wall", round(row.wall_s or 0.0, 3), "s", "", "pass")
        walls.append(row.wall_s or 0.0)
    if walls and contact.kind == "cuda":  # a virtual device's points take next to no time
        minutes, planned = sum(walls) / len(walls) * len(runs) / 60, plan.total_s / 60
        note = f"the mean of {len(walls)} points times {len(runs)}; POINT_OVERHEAD_S and the other constants in benches/plan.py"
        yield within("real settings", "length of the nightly sweep", minutes, "min", planned / 3, planned * 3, note)
    done, wanted = len(walls), len(chosen)
    yield Check("real settings", "points measured", done, "", str(wanted), "pass" if done == wanted else "unfinished")


def step_counters(contact: Contact) -> Iterator[Check]:
    ncu = counters.find_ncu()
    if contact.kind != "cuda" or ncu is None:
        why = "a simulated device has none" if contact.kind != "cuda" else "ncu is neither on the PATH nor in /usr/local/cuda/bin"
        yield Check("counters", "DRAM reads", None, "", "ncu", "skipped", why)
        return
    try:
        text = counters.profile(ncu, contact.left_s())
    except subprocess.TimeoutExpired:
        yield Check("counters", "DRAM reads", None, "", "counted", "unfinished", "ncu did not end in time")
        return
    read = counters.parse(text)
    append(contact.out, "counters", {"bytes_read": read, "printed": "" if read else text[-2000:]})
    if not read:
        yield Check("counters", "DRAM reads", None, "", "counted", "skipped", counters.explain(text))
        return
    yield from counters.judge(read)


def step_selftest(contact: Contact) -> Iterator[Check]:
    """`doctor --selftest`, in parallel: each op, implementation and precision against its fp64 reference at a small ragged shape."""
    gpu = contact.gpu or load_gpu(DEFAULT_GPU)
    found = selftest.points(lambda language: Platform("cuda", gpu.compute_capability))
    points = sorted(found, key=lambda point: impl_of(point).by_torch_compile)  # these take longest: last, so that they are cut off first
    arguments = [(point, selftest.SEED) for point in points]
    for place, result in run_all(check_point, arguments, contact.opening(QUICK), contact.log, workers(), contact.left_s()):
        if isinstance(result, Late):
            yield Check("selftest", points[place].id, None, "", "pass or unsupported", "unfinished", str(result))
        elif isinstance(result, BaseException):
            yield Check("selftest", points[place].id, None, "", "pass or unsupported", "fail", f"{type(result).__name__}: {result}")
        else:
            verdict, detail = result
            yield one_of("selftest", points[place].id, verdict, ("pass", "unsupported"), detail)


def check_point(point: Point, seed: int) -> tuple[str, str]:
    """In a worker: the verdict and what it rests on. A worker whose CUDA context may be beyond repair ends."""
    row = measure(point, worker.bench().device, seed, timing=False)
    found = selftest.Check.of(row)
    if row.cause in (CONTEXT_LOST, DEVICE_LOST):
        print(found.line(), flush=True)
        os._exit(1)
    return found.verdict, found.detail


# By what they are worth: what a short budget cuts off is at the end.
STEPS = (
    Step("facts", 15, 25, step_facts),
    Step("clockwork", 40, 35, step_clockwork),
    Step("faults", 60, 45, step_faults),
    Step("compile", 45, 30, step_compile),
    Step("kernels", 150, 30, step_kernels),
    Step("real settings", 50, 15, step_settings),
    Step("torch.compile", 35, 15, step_torch_compile),
    Step("counters", 30, 15, step_counters),
    Step("selftest", 50, 15, step_selftest),
)


def limit(left_s: float, step: Step, later_s: float) -> float:
    """Seconds that a step may take of those left. later_s: the sum of what the steps after it are given in `STEPS`. Pure."""
    share = left_s * step.seconds / (step.seconds + later_s)
    return max(0.0, min(left_s, max(share, step.least_s)))


def run_steps(contact: Contact, steps: Sequence[Step], end_s: float, record: Callable[[Check], None]) -> Iterator[tuple[str, float]]:
    """Runs each step in its share of the time until `end_s` (time.monotonic), passing on what it leaves; (name, seconds) as each ends.

    A step that raises costs its own checks only.
    """
    for i, step in enumerate(steps):
        begin = time.monotonic()
        seconds = limit(end_s - begin, step, sum(later.seconds for later in steps[i + 1 :]))
        if seconds < LEAST_S:
            record(Check(step.name, "step", f"{seconds:.0f} s left", "", "enough time", "unfinished", "a larger --budget runs it"))
            continue
        contact.end_s = begin + seconds
        try:
            with cut_off(seconds + GRACE_S):
                for check in step.run(contact):
                    record(check)
        except Cut:
            record(Check(step.name, "step", f"cut off after {seconds + GRACE_S:.0f} s", "", "ends in time", "unfinished"))
        except Exception as error:
            traceback.print_exc()
            verdict: Verdict = "unfinished" if isinstance(error, Late) else "fail"
            record(Check(step.name, "step", type(error).__name__, "", "no error", verdict, first_line(error)))
        yield step.name, time.monotonic() - begin


def first_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error))[:200]


@contextmanager
def cut_off(seconds: float) -> Iterator[None]:
    """Raises Cut within the block once it has taken so long. In the main thread only."""

    def cut(number: int, frame: FrameType | None) -> None:
        raise Cut

    before = signal.signal(signal.SIGALRM, cut)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
