"""`python -m studies.fuzz [--count 10000] [--seed N] [--only TARGET]`: whatever a file holds, reading it ends in a result or in
lines that say what is wrong: no traceback, at most a second and 350 MB an input. Prints counts, the slowest input and the peak memory.

Each reader runs in a process of its own, and its memory is what it adds to that process.

Exit code 1 where an input broke that; it is kept in /tmp, and its seed and number make it again.
"""

from __future__ import annotations

import argparse
import re
import resource
import signal
import sys
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from random import Random
from tempfile import NamedTemporaryFile, TemporaryDirectory, gettempdir
from types import FrameType

from benches.run.journal import read_journal
from benches.sweep.load import SweepError, load_sweep
from reports.build import write_report
from reports.environment import load_environment
from reports.refusal import RunError
from reports.report import load_report
from studies.fuzz.runs import environment_input, journal_input, lines, text
from studies.fuzz.sweeps import sweep_input

LIMIT_S = 1.0  # of CPU time: the machine may be busy with something else
LIMIT_BYTES = 350_000_000  # beyond what the process held before the first input
HANG_S = 30  # an input that takes longer is interrupted
PAGE_SHARE = 50  # a page is built for one in so many: it takes half a second


class Hang(Exception):
    """An input took HANG_S."""


@dataclass
class Target:
    """A reader. `read(folder, rng)` writes an input into the folder, reads it, and returns how it ended in a word, and its problems."""

    name: str
    make: Callable[[Random], bytes]
    file: str
    read: Callable[[Path], tuple[str, Sequence[str]]]
    share: int = 1
    limit_s: float = LIMIT_S


def read_sweep(folder: Path) -> tuple[str, Sequence[str]]:
    try:
        load_sweep(folder / "s.yaml")
    except SweepError as error:
        return "refused", error.problems or ["refused without a reason\n"]
    return "points", []


def read_rows(folder: Path) -> tuple[str, Sequence[str]]:
    contents = read_journal(folder)
    problems = [*contents.problems, *contents.unread]
    return f"{'rows' if contents.rows else 'no rows'}, {'problems' if problems else 'no problems'}", problems


def read_environment(folder: Path) -> tuple[str, Sequence[str]]:
    environment = load_environment(folder)
    for name in environment.fields:
        environment.text(name)
    return ("known device" if environment.ceilings else "unknown device"), environment.problems


def read_run(folder: Path) -> tuple[str, Sequence[str]]:
    """A whole run: page, Parquet and CSV."""
    try:
        report = load_report(folder)
        write_report(report)
    except RunError as error:
        return "refused", [str(error)]
    return "page", report.problems


def run_input(rng: Random) -> bytes:
    """A journal of many odd rows, and ones as they should be. The environment follows from it: see `settle`."""
    return b"".join(journal_input(rng)[:200_000] + b"\n" for _ in range(40)) + b"".join(text(line) + b"\n" for line in lines()[:20])


TARGETS = (
    Target("sweep", sweep_input, "s.yaml", read_sweep),
    Target("journal", journal_input, "rows.jsonl", read_rows),
    Target("environment", environment_input, "environment.json", read_environment),
    Target("page", run_input, "rows.jsonl", read_run, PAGE_SHARE, limit_s=10.0),
)


@dataclass
class Result:
    """What a target did."""

    name: str
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: int = 0
    start_bytes: int = 0  # that the process had held before the first input
    peak_bytes: int = 0  # beyond those
    peak: int = 0

    def line(self) -> str:
        outcomes = ", ".join(f"{count} {name}" for name, count in self.outcomes.most_common())
        return (
            f"{self.name}: {sum(self.outcomes.values())} inputs, {len(self.faults)} faults ({outcomes}); "
            f"slowest {self.slowest_s:.2f} s (input {self.slowest}); peak +{self.peak_bytes / 1e6:.0f} MB (input {self.peak})"
        )


def fuzz_alone(name: str, count: int, seed: int, only: int | None = None) -> Result:
    """`fuzz` of the target of that name in a fresh process, whose memory nothing else has used."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_fuzz_named, name, count, seed, only).result()


def _fuzz_named(name: str, count: int, seed: int, only: int | None) -> Result:
    return fuzz(next(target for target in TARGETS if target.name == name), count, seed, only)


def inputs(target: Target, count: int, seed: int) -> Iterator[tuple[int, bytes, Random]]:
    """Each input from its own number, so that any one can be made again without the others."""
    for number in range(max(1, count // target.share)):
        rng = Random(zlib.crc32(f"{target.name} {seed} {number}".encode()))
        yield number, target.make(rng), rng


def fuzz(target: Target, count: int, seed: int, only: int | None = None) -> Result:
    """Reads every input of a target; a fault is kept in a file and described in the result."""
    result = Result(target.name, start_bytes=_peak_bytes())
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for number, data, rng in inputs(target, count, seed):
            if only is not None and number != only:
                continue
            (folder / target.file).write_bytes(data)
            if target.name == "page":
                (folder / "environment.json").write_bytes(environment_input(rng)[:1_000_000])
            fault = _try(target, folder, number, result)
            if fault:
                name = f"fuzz-{target.name}-{seed}-{number}-"  # with an end of its own: the folder is every user's
                with NamedTemporaryFile(prefix=name, dir=gettempdir(), delete=False) as kept:
                    kept.write(data)
                result.faults.append(f"{target.name} input {number} (seed {seed}, kept in {kept.name}): {fault}")
    return result


def _try(target: Target, folder: Path, number: int, result: Result) -> str | None:
    """What is wrong with how the input was read, or None."""
    start = time.process_time()
    try:
        with limited(HANG_S):
            outcome, problems = target.read(folder)
    except Exception as error:  # the point of it all
        result.outcomes["traceback"] += 1
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:200]} ({where.filename}:{where.lineno})"
    seconds, peak = time.process_time() - start, _peak_bytes() - result.start_bytes
    result.outcomes[outcome] += 1
    if seconds > result.slowest_s:
        result.slowest_s, result.slowest = seconds, number
    grown = peak > result.peak_bytes
    if grown:
        result.peak_bytes, result.peak = peak, number
    if seconds > target.limit_s:
        return f"took {seconds:.2f} s"
    if grown and peak > LIMIT_BYTES:
        return f"took {peak / 1e6:.0f} MB"
    odd = next((line for line in problems if not line.isprintable() or len(line) > 2000), None)
    return f"a problem that is no line: {odd[:200]!r}" if odd else None


def _peak_bytes() -> int:
    """The most that this process has held. Linux's ru_maxrss is no less than what the parent held when it started this process."""
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"), re.MULTILINE)):
        return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raises Hang in what takes longer."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise Hang(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m studies.fuzz", description="Bad files against the readers.")
    parser.add_argument("--count", type=int, default=10_000, help=f"inputs of each reader; pages: 1 in {PAGE_SHARE} (default: 10000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=[target.name for target in TARGETS], help="one reader")
    parser.add_argument("--input", type=int, metavar="NUMBER", help="one input")
    given = parser.parse_args(arguments)
    failed = False
    for target in TARGETS:
        if given.only in (None, target.name):
            result = fuzz_alone(target.name, given.count, given.seed, given.input)
            print(result.line(), flush=True)
            for fault in result.faults[:20]:
                print(f"  {fault}", flush=True)
            failed = failed or bool(result.faults)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
