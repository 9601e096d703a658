"""`python -m benches first-contact --out DIR`.

Exit code 0: everything is as expected; 1: something is not; 2: no such device, or bad options; 3: not finished.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from benches.devices.opening import NoDevice
from benches.first_contact.check import Check, exit_code
from benches.first_contact.output import used_already, write_summary
from benches.first_contact.steps import QUICK, STEPS, Contact, Step, run_steps
from benches.run import environment
from benches.run.isolation import Isolated, WorkerError
from kernels import interpreter
from kernels.escaping import one_line
from kernels.imports import ImportProblem, load_imports, specs
from kernels.imports import add_option as add_import_option

DEFAULT_BUDGET_S, LEAST_BUDGET_S = 480.0, 60.0
RESERVE_S = 6.0  # for the last worker to end and the summary to be written
SEED = 20260101
EVERY_S = 2.0  # between two summaries of a step that goes on


class Stopped(BaseException):
    """The command was asked to end."""


def add_command(commands: Any) -> None:
    """`commands`: what argparse's add_subparsers gives."""
    what = "test in minutes, on a bare GPU node, the assumptions that only a GPU can confirm"
    contact = commands.add_parser("first-contact", help=what, description=what)
    contact.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory for the files; created if it does not exist")
    contact.add_argument(
        "--budget", type=float, default=DEFAULT_BUDGET_S, metavar="S", help=f"seconds for everything (default: {DEFAULT_BUDGET_S:g})"
    )
    contact.add_argument("--device", choices=("cuda", "simulated"), default="cuda", help="where to measure (default: cuda)")
    contact.add_argument("--seed", type=int, default=SEED, metavar="N", help=f"seed of inputs, order and points (default: {SEED})")
    names = [step.name for step in STEPS]
    contact.add_argument("--step", action="append", choices=names, metavar="STEP", help=f"only this step, repeatable: {', '.join(names)}")
    add_import_option(contact)
    contact.set_defaults(run=main)


def main(given: argparse.Namespace) -> int:
    begin = time.monotonic()
    if not given.budget >= LEAST_BUDGET_S:
        return refuse(f"--budget {given.budget:g}: needs at least {LEAST_BUDGET_S:g} seconds")
    try:
        given.out.mkdir(parents=True, exist_ok=True)
        if name := used_already(given.out):
            return refuse(f"--out {given.out}: {name} of an earlier first contact is already there; name an empty folder")
        with tempfile.TemporaryDirectory(prefix="first-contact-", ignore_cleanup_errors=True) as scratch:
            prepare_environment(Path(scratch), given.device)
            contact = Contact(given.out.resolve(), Path(scratch), given.device, given.seed, load_imports(specs(given.imports)))
            contact.described = describe(contact)
            steps = [step for step in STEPS if not given.step or step.name in given.step]
            return run(contact, steps, begin + given.budget - RESERVE_S, begin)
    except (NoDevice, WorkerError) as error:
        return refuse(str(error))
    except ImportProblem as error:
        print(one_line(str(error)), file=sys.stderr)
        return 2
    except OSError as error:
        return refuse(f"--out {given.out}: cannot be written: {error.strerror or error}")


def refuse(problem: str) -> int:
    print(f"error: {problem}", file=sys.stderr)
    return 2


def prepare_environment(scratch: Path, kind: str) -> None:
    """What the worker processes inherit: caches that are empty, so that everything is compiled on this node, and are shared."""
    os.environ["TRITON_CACHE_DIR"] = str(scratch / "triton")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(scratch / "inductor")
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # workers compile side by side: each would start a pool of its own
    interpreter.compile_kernels()
    interpreter.choose(kind)


def describe(contact: Contact) -> dict[str, Any]:
    """What the device is, from a worker. Raises NoDevice and WorkerError."""
    measurer = Isolated(contact.opening(QUICK), contact.log, 60.0)
    try:
        return measurer.describe()
    finally:
        measurer.close()


def run(contact: Contact, steps: Sequence[Step], end_s: float, begin: float) -> int:
    """Runs the steps, writes the summary after each and prints it at last; the exit code."""
    files = [one.recorded() for one in contact.imports]
    collected = environment.collect(
        contact.described, {"seed": contact.seed, "sweeps": ["first_contact"], "regime": "sustained", "imports": files}
    )
    environment.write(contact.out, collected)
    title = f"first contact with {contact.described['device_name']}, {collected['started_utc']}, commit {str(collected['commit'])[:8]}"
    checks: list[Check] = []
    written = 0.0

    def write() -> str:
        nonlocal written
        written = time.monotonic()
        return write_summary(contact.out, checks, f"{title}, {written - begin:.0f} s")

    def record(check: Check) -> None:
        checks.append(check)
        if time.monotonic() - written > EVERY_S:
            write()

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        for name, seconds in run_steps(contact, steps, end_s, record):
            write()
            print(f"{time.monotonic() - begin:5.0f} s  {name}: {seconds:.1f} s, {len(checks)} checks so far", flush=True)
    except (Stopped, KeyboardInterrupt):
        checks.append(Check("summary", "run", "stopped", "", "all steps", "unfinished"))
    finally:
        signal.signal(signal.SIGTERM, before)
        if contact.journal is not None:
            contact.journal.close()
    fitted = "`python -m reports validation` fits them to rows.jsonl"
    checks.append(Check("summary", "constants of the cost model", None, "", "fitted", "skipped", fitted))
    code = exit_code(checks)
    ended = {"finished_utc": environment.now_utc(), "interrupted": code == 3, "exit_code": code}
    environment.write(contact.out, json.loads(json.dumps(collected)) | ended)
    print(write(), end="", flush=True)
    return code
