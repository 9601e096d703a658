"""Measures one variant at a time on the GPU, in a process of its own: an illegal access there loses nothing but that variant."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from multiprocessing.connection import Connection
from typing import Any

from studies.hopper.plan import Case, Job

GRAPH_S = 4e-3  # of work in a graph, beside which the 2 us that a replay costs vanish
REPLAYS = 12
MOST_LAUNCHES = 2000  # in a graph
# Largest ‖error‖ / ‖reference‖, and largest error of an element beyond 2⁻⁸ of it, in units of √k, the deviation of a sum of k products
# of normals. bf16 rounds by 2⁻⁹ and fp16 by 2⁻¹² at most; the fp8 units add with about 14 bits. A misplaced tile is off by √2 units.
LIMITS = {"bf16": (2**-8, 2**-9), "fp16": (2**-10, 2**-9), "fp8_e4m3": (2**-5, 2**-3)}


def serve(connection: Connection, warmup_s: float) -> None:
    """Answers None with what this machine is and a job with its record, until the other end closes; ends after an error.

    A CUDA error stays with its process, and an interrupted capture with its stream, so another process takes over after any error.
    """
    import torch
    import triton

    from studies.hopper import calls  # noqa: F401  (imported now, while other processes compile)

    board: Board | None = None
    with suppress(EOFError, OSError):
        while True:
            job: Job | None = connection.recv()
            try:
                board = board or Board(warmup_s)
                if job is None:
                    versions = {"torch": torch.__version__, "cuda": torch.version.cuda, "triton": triton.__version__}
                    connection.send({"device": board.properties.name} | versions)
                else:
                    connection.send(board.record_of(job))
            except Exception as error:  # whatever a kernel raises is a result of this study
                connection.send({"status": "error", "reason": first_line(error)})
                return


def first_line(error: Exception) -> str:
    """An exception's type and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"


class Board:
    """The GPU, with the operands of one case."""

    def __init__(self, warmup_s: float) -> None:
        import torch
        import triton

        self.warmup_s = warmup_s
        self.stream = torch.cuda.Stream()
        self.properties = torch.cuda.get_device_properties(0)
        self.sm_clock = clock_reader(str(self.properties.uuid))
        self.case: Case | None = None
        self.sets: list[Any] = []
        self.reference: Any = None
        scratch: dict[int, Any] = {}  # descriptors that kernels make; those that run one after the other may share it

        def allocate(size: int, alignment: int, stream: int | None) -> Any:
            if size not in scratch:
                scratch[size] = torch.empty(size, device="cuda", dtype=torch.int8)  # torch aligns to 512 bytes
            return scratch[size]

        triton.set_allocator(allocate)

    def prepare(self, case: Case) -> None:
        """Makes the operands in rotation, and the product of the first set in fp64."""
        import torch

        from studies.hopper.calls import operands

        if case == self.case:
            return
        self.case, self.sets, self.reference = None, [], None
        gc.collect()
        torch.cuda.empty_cache()
        self.sets = [operands(case, "cuda", seed) for seed in range(case.sets(self.properties.L2_cache_size))]
        a, b, _ = self.sets[0]
        self.reference = a.double() @ b.double()
        self.case = case

    def record_of(self, job: Job) -> dict[str, Any]:
        """Checks the variant, times it, and checks it again. A wrong result has no time."""
        import torch

        from studies.hopper.calls import launcher

        self.prepare(job.case)
        launches = [launcher(job.variant, job.case, tensors) for tensors in self.sets]
        outputs = [c for *_, c in self.sets]
        record = self.check(job.case, launches[0])
        if record["status"] != "ok":
            return record
        graph, count = self.graph(launches)
        samples, clocks = self.time(graph, count)
        for c in outputs:
            c.fill_(math.nan)
        record = self.check(job.case, graph.replay)
        if record["status"] == "ok" and not all(bool(torch.isfinite(c).all()) for c in outputs):
            record |= {"status": "wrong", "reason": "a set in rotation was not computed"}
        if record["status"] != "ok":
            return record
        return record | {
            "median_s": statistics.median(samples),
            "samples_s": samples,
            "launches": count,
            "sets": len(self.sets),
            "sm_clock_hz": statistics.median(clocks) if clocks else None,
        }

    def check(self, case: Case, run: Callable[[], Any]) -> dict[str, Any]:
        """Runs on a NaN-filled output and compares with the reference."""
        import torch

        c = self.sets[0][2]
        c.fill_(math.nan)
        run()
        error = (c.double() - self.reference).abs()
        relative = float(error.norm() / self.reference.norm())
        worst = float((error - 2**-8 * self.reference.abs()).max()) / case.k**0.5
        largest, furthest = LIMITS[case.precision]
        right = relative <= largest and worst <= furthest  # False where one is NaN
        torch.cuda.synchronize()
        return {
            "status": "ok" if right else "wrong",
            "reason": "" if right else f"relative error {relative:.2e}, worst element off by {worst:.2e} √k",
            "relative_error": relative,
            "worst_error": worst,
        }

    def capture(self, launches: list[Callable[[], Any]], rounds: int) -> Any:
        """A graph of so many rounds through all sets, replayed once."""
        import torch

        graph = torch.cuda.CUDAGraph()
        self.stream.wait_stream(torch.cuda.current_stream())
        # Not torch.cuda.graph, which collects garbage and empties the cache first, for a tenth of a second.
        with torch.cuda.stream(self.stream):
            launches[0]()  # cuBLAS's workspace of this stream is then not the graph's own
            graph.capture_begin()
            for _ in range(rounds):
                for launch in launches:
                    launch()
            graph.capture_end()
        torch.cuda.current_stream().wait_stream(self.stream)
        graph.replay()
        return graph

    def graph(self, launches: list[Callable[[], Any]]) -> tuple[Any, int]:
        """A graph of about GRAPH_S that launches each set as often as the others, and its number of launches."""
        import torch

        one = self.capture(launches, 1)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        one.replay()
        end.record()
        end.synchronize()
        rounds = rounds_of(start.elapsed_time(end) * 1e-3, len(launches))
        return self.capture(launches, rounds), rounds * len(launches)

    def time(self, graph: Any, count: int) -> tuple[list[float], list[float]]:
        """Seconds a launch in each replay, back to back after a warm-up, and SM clocks in Hz that were read meanwhile."""
        import torch

        marks = [torch.cuda.Event(enable_timing=True) for _ in range(REPLAYS + 1)]
        stop = time.perf_counter() + self.warmup_s
        graph.replay()
        while time.perf_counter() < stop:  # one replay runs while the next waits
            graph.replay()
            marks[0].synchronize()
            marks[0].record()
        marks[0].record()
        for mark in marks[1:]:
            graph.replay()
            mark.record()
        clocks = []
        while not marks[-1].query():
            time.sleep(0.001)
            if marks[0].query() and self.sm_clock:
                clocks.append(self.sm_clock())
        marks[-1].synchronize()
        return [a.elapsed_time(b) * 1e-3 / count for a, b in pairwise(marks)], clocks


def rounds_of(once: float, sets: int) -> int:
    """How often a graph of about GRAPH_S goes through all sets, if that takes `once` seconds."""
    return max(1, min(round(GRAPH_S / once), MOST_LAUNCHES // sets))


def clock_reader(uuid: str) -> Callable[[], float] | None:
    """Reads the SM clock in Hz; None without pynvml, or where it does not find the board."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}".encode())
        pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)
    except pynvml.NVMLError:
        return None
    return lambda: float(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM) * 1e6)
