"""Compares matmul kernels in Triton with cuBLAS on an H100, within a budget of seconds.

    python -m studies.hopper --out DIR [--budget 65] [--warmup 0.15] [--processes N]
    python -m studies.hopper --inspect [--processes N]

It needs torch, triton and this repository. Every kernel of plan.py is compiled in N processes (default: all cores but 3) while a
worker process takes the measurements, the most valuable first. Each is checked against fp64 on NaN-filled output, before and after its
times are taken: 12 replays of a CUDA graph of about 4 ms, back to back, behind a warm-up, on operand sets in rotation that exceed three
times the L2. The variants of a product are interleaved in two rounds. After an error another worker goes on with the next variant, and
what failed is not tried again. DIR/measurements.jsonl gets a line for each measurement as it is made; a compact table ends the output.

`--inspect` compiles the same kernels for sm_90 on any machine and prints registers, shared memory, spills and instructions.
Exit 1 where a kernel is wrong, failed, or (with `--inspect`) cannot run on an H100.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

from kernels import interpreter
from studies.hopper.board import serve
from studies.hopper.compiling import Compiled, compile_variant, inspect
from studies.hopper.plan import Job, compilations, jobs
from studies.hopper.table import text

START = time.monotonic()
FIRST_ANSWER_S = 40.0  # imports, a CUDA context
ANSWER_S = 6.0  # a measurement takes half a second at most, with a kernel that was not compiled ahead some seconds
LEFT_S = 1.0  # of the budget, to print the table and end

Record = dict[str, Any]


def run(
    todo: Iterable[Job],
    compiled: Callable[[Job], Compiled | None],
    measure: Callable[[Job], Record],
    now: Callable[[], float],
    budget_s: float,
    write: Callable[[Record], None],
) -> list[Record]:
    """Measures the jobs in order until the budget is over. What failed is left out from then on, what was wrong for its product."""
    rows: list[Record] = []
    left_out: set[tuple[Any, ...]] = set()
    for job in todo:
        if now() > budget_s - LEFT_S:
            break
        kernel = job.variant, job.case.precision, job.case.layout
        if left_out & {kernel, (job.variant, job.case), (job.variant.kind,)}:
            continue
        code = compiled(job)
        if code and code.error:
            record: Record = {"status": "error", "reason": f"does not compile: {code.error}"}
        else:
            record = measure(job)
            if record["status"] == "timeout" and now() >= budget_s - LEFT_S:
                break
        if record["status"] != "ok":
            # One that hung costs seconds, so that other tiles of its kind are not tried.
            left_out.add({"wrong": (job.variant, job.case), "timeout": (job.variant.kind,)}.get(record["status"], kernel))
        names = {"case": job.case.name, "variant": job.variant.name, "round": job.round}
        details = {"flops": job.case.flops, "compile_s": code and code.seconds, "at_s": now()}
        row = names | record | details | {"config": asdict(job.variant)}
        write(row)
        rows.append(row)
    return rows


class Workers:
    """A process that measures, and another that has imported torch already and takes over when the first fails."""

    def __init__(self, warmup_s: float, left_s: Callable[[], float]) -> None:
        self.warmup_s = warmup_s
        self.left_s = left_s
        self.ready = [self._start(), self._start()]
        self.answered = False

    def _start(self) -> tuple[Any, Any]:
        context = get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=serve, args=(there, self.warmup_s), daemon=True)
        process.start()
        there.close()
        return process, here

    def ask(self, job: Job | None) -> Record:
        """The worker's answer, or what became of it. Never waits beyond the budget."""
        for attempt in (1, 2):  # so that what a new process takes to start is not the job's
            if job is not None and not self.answered:
                hello = self.ask(None)
                if not self.answered and attempt == 2:
                    return hello
        process, connection = self.ready[0]
        try:
            connection.send(job)
            if connection.poll(max(0.0, min(FIRST_ANSWER_S if job is None else ANSWER_S, self.left_s()))):
                record: Record = connection.recv()
            else:
                record = {"status": "timeout", "reason": "no answer"}
        except (EOFError, OSError):
            process.join(1)
            record = {"status": "crashed", "reason": f"the process ended with exit code {process.exitcode}"}
        self.answered = record.get("status") not in ("error", "timeout", "crashed")
        if not self.answered:
            process.kill()
            self.ready = [*self.ready[1:], self._start()]
        return record


def waiter(futures: dict[tuple[Any, ...], Future[Compiled]], left_s: Callable[[], float]) -> Callable[[Job], Compiled | None]:
    """Waits for a job's kernel; None where there is none, or where the pool broke and the worker has to compile it itself."""

    def wait(job: Job) -> Compiled | None:
        future = futures.get((job.variant, job.case.precision, job.case.layout))
        if future is None:
            return None
        try:
            return future.result(timeout=max(0.0, left_s()))
        except (BrokenExecutor, TimeoutError):
            return None

    return wait


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m studies.hopper", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for measurements.jsonl")
    parser.add_argument("--budget", type=float, default=65.0, help="seconds in all (default: 65)")
    parser.add_argument("--warmup", type=float, default=0.15, help="seconds before each measurement (default: 0.15)")
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 1) - 3), help="that compile")
    parser.add_argument("--inspect", action="store_true", help="only compile, and describe the machine code")
    options = parser.parse_args(arguments)
    interpreter.compile_kernels()
    if options.inspect:
        found = inspect(compilations(), options.processes)
        print("\n".join(found))
        return int(any(" FAIL " in line for line in found))
    if options.out is None:
        parser.error("--out DIR is missing: where to write measurements.jsonl")
    options.out.mkdir(parents=True, exist_ok=True)

    def left_s() -> float:
        return float(options.budget - LEFT_S - (time.monotonic() - START))

    os.environ.setdefault("TRITON_CACHE_DIR", tempfile.mkdtemp(prefix="hopper-"))  # what is compiled now, the worker finds there
    workers = Workers(options.warmup, left_s)
    pool = ProcessPoolExecutor(options.processes, mp_context=get_context("spawn"))
    futures = {
        (variant, case.precision, case.layout): pool.submit(compile_variant, variant, case, True) for variant, case in compilations()
    }
    with (options.out / "measurements.jsonl").open("a", encoding="utf-8") as file:

        def write(record: Record) -> None:
            file.write(json.dumps(record) + "\n")
            file.flush()

        environment = workers.ask(None)
        write(environment | {"at_s": time.monotonic() - START})
        print(environment, f"after {time.monotonic() - START:.1f} s", flush=True)
        rows = run(jobs(), waiter(futures, left_s), workers.ask, lambda: time.monotonic() - START, options.budget, write)
    for child in active_children():  # also those that compile: Python would wait for them at its end
        child.kill()
    pool.shutdown(wait=False, cancel_futures=True)
    print(text(rows))
    print(
        f"{len(rows)} of {len(list(jobs()))} measurements in {time.monotonic() - START:.1f} s: {options.out / 'measurements.jsonl'}",
        flush=True,
    )
    return int(any(row["status"] != "ok" for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
