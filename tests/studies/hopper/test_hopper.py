"""The study's order of work, its table, its worker, its kernels in the interpreter, and their machine code for an H100."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
import torch

from studies.hopper import board, calls
from studies.hopper.__main__ import Workers, run, waiter
from studies.hopper.compiling import Compiled
from studies.hopper.plan import CUBLAS, DEVICE, GROUPS, HOST, LONG, POINTER, Case, Job, Variant, compilations, jobs, suite
from studies.hopper.table import LIMIT, text

ROOT = Path(__file__).parents[3]
CASE = Case(64, 96, 128)


# The plan


def test_every_variant_has_a_name_of_its_own() -> None:
    variants = {v for case, listed in GROUPS for v in (CUBLAS, suite(case), *listed)}
    assert len({v.name for v in variants}) == len(variants)
    assert replace(LONG, store="direct").name == "device-persistent-specialize-direct 128x256x128B w4 s4"


def test_rounds_interleave_the_variants_of_a_product_and_the_most_valuable_product_comes_first() -> None:
    todo = list(jobs())
    first = [job for job in todo if job.case == Case(8192, 8192, 8192)]
    half = len(first) // 2
    assert todo[: len(first)] == first
    assert [(j.variant, 1) for j in first[:half]] == [(j.variant, j.round) for j in first[:half]]
    assert [(j.variant, 2) for j in first[:half]] == [(j.variant, j.round) for j in first[half:]]
    assert len(set(todo)) == len(todo)


def test_every_kernel_is_compiled_once_in_the_order_of_first_use() -> None:
    wanted = compilations()
    kernels = [(variant, case.precision, case.layout) for variant, case in wanted]
    assert len(set(kernels)) == len(kernels)
    assert set(kernels) == {(j.variant, j.case.precision, j.case.layout) for j in jobs() if j.variant != CUBLAS}
    assert wanted[0] == (suite(Case(8192, 8192, 8192)), Case(8192, 8192, 8192))


@pytest.mark.parametrize(
    ("case", "flops", "size", "sets"),
    [
        (Case(8192, 8192, 8192), 1.099511627776e12, 402_653_184, 2),
        (Case(1024, 1024, 1024), 2.147483648e9, 6_291_456, 26),
        (Case(1024, 1024, 1024, "fp8_e4m3"), 2.147483648e9, 4_194_304, 39),
    ],
)
def test_what_a_case_holds(case: Case, flops: float, size: int, sets: int) -> None:
    assert (case.flops, case.bytes, case.sets(50 * 2**20)) == (flops, size, sets)


def test_tiles_divide_k() -> None:
    """The kernels have no masks along k."""
    found = [job for job in jobs() if job.variant != CUBLAS]
    assert found
    for job in found:
        size = 1 if job.case.precision == "fp8_e4m3" else 2
        assert job.case.k * size % job.variant.k_bytes == 0


# The order of work


def job(variant: Variant, case: Case = CASE, number: int = 1) -> Job:
    return Job(case, variant, number)


OK = {"status": "ok", "median_s": 1e-5, "sm_clock_hz": 1.5e9}


def ran(
    todo: list[Job], answers: dict[Variant, dict[str, Any]], budget: float = 100.0, errors: dict[Variant, str] | None = None
) -> list[dict[str, Any]]:
    """`run` where each measurement takes a second."""
    seconds = itertools.count()
    time = {"now": 0.0}

    def measure(job: Job) -> dict[str, Any]:
        time["now"] = float(next(seconds) + 1)
        return dict(answers.get(job.variant, OK))

    def compiled(job: Job) -> Compiled | None:
        return Compiled(job.variant, job.case, error=(errors or {}).get(job.variant, ""), seconds=2.5)

    written: list[dict[str, Any]] = []
    rows = run(todo, compiled, measure, lambda: time["now"], budget, written.append)
    assert written == rows
    json.dumps(rows)
    return rows


def test_a_failed_kernel_is_left_out_and_a_wrong_one_only_for_its_product() -> None:
    other = Case(128, 96, 128)
    bad, wrong = replace(HOST, stages=3), replace(HOST, stages=2)
    todo = [job(v, case, number) for case in (CASE, other) for number in (1, 2) for v in (HOST, bad, wrong)]
    rows = ran(todo, {bad: {"status": "crashed", "reason": "exit code -6"}, wrong: {"status": "wrong", "reason": "off"}})
    tried = [(row["case"], row["variant"], row["round"]) for row in rows]
    a, b = CASE.name, other.name
    assert tried == [
        (a, HOST.name, 1),
        (a, bad.name, 1),
        (a, wrong.name, 1),
        (a, HOST.name, 2),
        (b, HOST.name, 1),
        (b, wrong.name, 1),
        (b, HOST.name, 2),
    ]


def test_where_one_hangs_other_tiles_of_its_kind_are_not_tried() -> None:
    hung, tile, other = LONG, replace(LONG, m=256, n=128), replace(LONG, store="direct")
    rows = ran([job(v) for v in (hung, tile, other)], {hung: {"status": "timeout", "reason": "no answer"}})
    assert [row["variant"] for row in rows] == [hung.name, other.name]


def test_what_does_not_compile_is_not_launched() -> None:
    rows = ran([job(HOST), job(DEVICE)], {}, errors={HOST: "CompilationError: no"})
    assert [(row["status"], row.get("reason")) for row in rows] == [("error", "does not compile: CompilationError: no"), ("ok", None)]


@pytest.mark.parametrize(("budget", "measured"), [(3.5, 3), (1.0, 1), (0.5, 0), (100.0, 5)])
def test_the_budget_ends_the_work(budget: float, measured: int) -> None:
    assert len(ran([job(HOST, number=n) for n in range(5)], {}, budget)) == measured


def test_an_answer_that_the_budget_cut_off_is_no_failure() -> None:
    assert ran([job(HOST)], {HOST: {"status": "timeout", "reason": "no answer"}}, budget=2.0) == []
    assert len(ran([job(HOST)], {HOST: {"status": "timeout", "reason": "no answer"}}, budget=20.0)) == 1


def test_a_kernel_without_a_future_is_left_to_the_worker() -> None:
    assert waiter({}, lambda: 1.0)(job(CUBLAS)) is None


# Worker processes


class Scripted:
    """A process whose answers stand in its pipe already."""

    exitcode = -6

    def __init__(self) -> None:
        self.killed = False

    def join(self, timeout: float) -> None:
        pass

    def kill(self) -> None:
        self.killed = True


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Scripted, Any, Any]]:
    """Every process that Workers starts, with both ends of its pipe."""
    processes: list[tuple[Scripted, Any, Any]] = []

    def start(_: Workers) -> tuple[Scripted, Any]:
        here, there = Pipe()
        processes.append((Scripted(), here, there))
        return processes[-1][0], here

    monkeypatch.setattr(Workers, "_start", start)
    return processes


def test_another_worker_takes_over_after_an_error_a_crash_and_silence(started: list[tuple[Scripted, Any, Any]]) -> None:
    workers = Workers(0.1, lambda: 0.01)
    hello = {"device": "scripted"}
    error = {"status": "error", "reason": "AcceleratorError: an illegal memory access was encountered"}
    for answer in (hello, OK, error):
        started[0][2].send(answer)
    assert [workers.ask(question) for question in (None, job(HOST), job(HOST))] == [hello, OK, error]
    started[1][2].send(hello)
    assert workers.ask(job(HOST)) == {"status": "timeout", "reason": "no answer"}
    started[2][2].close()  # before it answers: yet another takes the job
    started[3][2].send(hello)
    assert workers.ask(job(HOST)) == {"status": "timeout", "reason": "no answer"}
    started[4][2].send(hello)
    started[4][2].send(OK)
    assert workers.ask(job(HOST)) == OK
    started[4][2].close()
    assert workers.ask(job(HOST)) == {"status": "crashed", "reason": "the process ended with exit code -6"}
    assert [process.killed for process, *_ in started] == [True] * 5 + [False] * 2


# The table


def rows_of(case: Case, variants: dict[str, tuple[float, ...]]) -> list[dict[str, Any]]:
    """Rows with these medians in us; 0 for a wrong result."""
    return [
        {"case": case.name, "variant": name, "round": number, "flops": case.flops}
        | (OK | {"median_s": us * 1e-6} if us > 0 else {"status": "wrong", "reason": "relative error 1.2e+00"})
        for name, times in variants.items()
        for number, us in enumerate(times, 1)
    ]


def test_the_table_sorts_by_time_and_names_what_is_wrong() -> None:
    case = Case(4096, 4096, 4096)
    shown = text(rows_of(case, {"cublas": (190.0, 210.0), "bad": (0.0,), "slow": (380.0, 420.0), "fast": (100.0,)})).splitlines()
    assert shown[0].startswith("4096x4096x4096 bf16 nt: us")
    assert [line.split() for line in shown[1:]] == [
        ["100.0", "1374", "1.900", "1500", "fast"],
        ["190.0", "210.0", "687", "1.000", "1500", "cublas"],
        ["380.0", "420.0", "344", "0.500", "1500", "slow"],
        ["wrong:", "bad:", "relative", "error", "1.2e+00"],
    ]


def test_a_long_table_keeps_the_fastest_of_each_product() -> None:
    rows = [row for case, variants in GROUPS for row in rows_of(case, {v.name: (100.0 + i, 100.0 + i) for i, v in enumerate(variants)})]
    shown = text(rows)
    assert len(shown) <= LIMIT
    assert all(case.name in shown and variants[0].name in shown for case, variants in GROUPS)
    assert " more" in shown
    assert text([]) == ""


# Measuring, on scripted CUDA


class Stream:
    def wait_stream(self, other: Any) -> None:
        pass


class FakeCuda:
    """torch.cuda with a clock of its own: every launch takes `launch_s`, and a captured one runs when its graph is replayed."""

    def __init__(self, launch_s: float) -> None:
        self.now = 0.0
        self.launch_s = launch_s
        self.captured: list[Callable[[], None]] | None = None
        self.replays = 0
        self.queries = 0  # of events, of which the first finds the GPU at work
        fake = self

        class Event:
            def __init__(self, enable_timing: bool) -> None:
                self.at = 0.0

            def record(self) -> None:
                self.at = fake.now

            def synchronize(self) -> None:
                pass

            def query(self) -> bool:
                fake.queries += 1
                return fake.queries > 1

            def elapsed_time(self, end: Any) -> float:
                return (end.at - self.at) * 1e3

        class CUDAGraph:
            def capture_begin(self) -> None:
                fake.captured = []

            def capture_end(self) -> None:
                self.nodes, fake.captured = fake.captured or [], None

            def replay(self) -> None:
                fake.replays += 1
                for node in self.nodes:
                    fake.launch(node)

        self.Event, self.CUDAGraph, self.Stream = Event, CUDAGraph, Stream

    def launch(self, compute: Callable[[], None]) -> None:
        if self.captured is not None:
            self.captured.append(compute)
            return
        self.now += self.launch_s
        compute()

    def stream(self, stream: Stream) -> Any:
        return torch.no_grad()

    def current_stream(self) -> Stream:
        return Stream()

    def get_device_properties(self, index: int) -> Any:
        return types.SimpleNamespace(L2_cache_size=50_000, uuid="0", name="scripted")

    def synchronize(self) -> None:
        pass

    def empty_cache(self) -> None:
        pass


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """A scripted GPU whose operands lie on the CPU and whose products PyTorch computes."""
    fake = FakeCuda(1e-3)
    make = calls.operands
    monkeypatch.setattr(torch, "cuda", fake)
    monkeypatch.setattr(board, "clock_reader", lambda uuid: lambda: 1.4e9)
    monkeypatch.setattr(calls, "operands", lambda case, device, seed: make(case, "cpu", seed))
    monkeypatch.setattr(calls, "launcher", lambda variant, case, tensors: lambda: fake.launch(lambda: product(variant, tensors)))
    return fake


def product(variant: Variant, tensors: calls.Operands) -> None:
    """A·B; a variant of 1 stage leaves out a part of the first row, one of 2 stages gives up."""
    a, b, c = tensors
    if variant.stages == 2:
        raise RuntimeError("out of resource: shared memory\nand more")
    c.copy_(a.double() @ b.double())
    if variant.stages == 1:
        c[0, : c.shape[1] // 2] = 0


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp8_e4m3"])
def test_a_variant_is_checked_and_timed_on_sets_in_rotation(cuda: FakeCuda, precision: str) -> None:
    case = replace(CASE, precision=precision)
    record = board.Board(0.0).record_of(job(POINTER, case))
    assert record["status"] == "ok", record
    assert record["median_s"] == pytest.approx(1e-3)
    assert record["sets"] == case.sets(50_000) == len(board.Board(0.0).sets) + record["sets"]
    assert record["launches"] % record["sets"] == 0
    assert record["launches"] == pytest.approx(board.GRAPH_S / 1e-3, abs=record["sets"] / 2)
    assert len(record["samples_s"]) == board.REPLAYS
    assert record["sm_clock_hz"] == 1.4e9
    assert 0 < record["relative_error"] < board.LIMITS[precision][0]
    assert torch.cuda.Event is cuda.Event


@pytest.mark.slow
def test_a_wrong_result_has_no_time(cuda: FakeCuda) -> None:
    record = board.Board(0.0).record_of(job(replace(POINTER, stages=1)))
    assert record["status"] == "wrong"
    assert "median_s" not in record
    assert cuda.replays == 0


@pytest.mark.slow
def test_a_result_that_is_not_written_is_wrong(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "launcher", lambda variant, case, tensors: lambda: None)
    assert board.Board(0.0).record_of(job(POINTER))["status"] == "wrong"


@pytest.mark.slow
def test_the_worker_answers_and_ends_after_an_error(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "version", types.SimpleNamespace(cuda="13.0"))
    here, there = Pipe()
    for question in (None, job(POINTER), job(replace(POINTER, stages=2)), job(POINTER)):
        here.send(question)
    board.serve(there, 0.0)
    assert here.recv()["device"] == "scripted"
    assert here.recv()["status"] == "ok"
    assert here.recv() == {"status": "error", "reason": "RuntimeError: out of resource: shared memory"}
    assert not here.poll()


@pytest.mark.parametrize(("once", "sets", "expected"), [(1e-3, 2, 4), (10e-3, 2, 1), (3.9e-3, 2, 1), (26 * 1e-6, 26, 76), (20e-6, 1, 200)])
def test_rounds_of_a_graph(once: float, sets: int, expected: int) -> None:
    assert board.rounds_of(once, sets) == expected


# The kernels, in Triton's interpreter (fp16: it multiplies bf16 as raw uint16)

SWITCHES = [
    *(Variant("pointer", 32, 32, 64, address=address) for address in ("base", "offset")),
    *(
        Variant(family, 32, 32, 64, persistent=persistent, flatten=flatten, store=store)
        for family in ("host", "device")
        for persistent, flatten in ((False, False), (True, False), (True, True))
        for store in ("whole", "halves", "direct")
        if (family, store) != ("host", "direct")
    ),
    Variant("device", 32, 32, 64, persistent=True, specialize=True, store="direct"),
    Variant("suite", 32, 32, 64),
]


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["nt", "nn"])
@pytest.mark.parametrize("variant", SWITCHES, ids=lambda variant: variant.kind)
def test_the_kernels_are_right_in_the_interpreter(variant: Variant, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more tiles than programs, and edges that tiles overhang."""
    monkeypatch.setattr(calls, "SM_COUNT", 4)
    case = Case(80, 112, 96, "fp16", layout)
    a, b, c = calls.operands(case, "cpu", 0)
    c.fill_(math.nan)
    calls.launcher(variant, case, (a, b, c))()
    expected = a.double() @ b.double()
    assert float((c.double() - expected).abs().max()) <= 2**-10 * float(expected.abs().max())


# The machine code

COMPILE = """
from studies.hopper.compiling import inspect
from studies.hopper.plan import compilations

if __name__ == "__main__":
    first = {variant: case for variant, case in reversed(compilations())}
    print("\\n".join(inspect(list(first.items()), 2)))
"""


@pytest.mark.slow
def test_every_variant_compiles_for_an_h100_without_spills_in_its_shared_memory(tmp_path: Path) -> None:
    """Each tile once, in the first precision and layout that uses it."""
    script = tmp_path / "compile_all.py"
    script.write_text(COMPILE, encoding="utf-8")
    environment = os.environ | {"TRITON_INTERPRET": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(script)], cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len({variant for variant, _ in compilations()})
    assert [line for line in lines if " FAIL " in line] == []
    for those, instruction in (
        ([line for line in lines if line.startswith(("host", "device"))], "UTMALDG"),
        ([line for line in lines if "specialize" in line.split()[0]], "USETMAXREG"),
    ):
        assert those, instruction
        assert all(instruction in line for line in those)
