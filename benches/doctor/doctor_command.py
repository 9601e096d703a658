"""The subcommand: arguments to an exit code. 0: this machine can measure, warnings or not; 1: something blocks or a check failed."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from benches.doctor.findings_text import show, write_json
from benches.doctor.machine_facts import Facts
from benches.doctor.rules import can_measure, judge
from kernels import interpreter
from kernels.console import open_console
from kernels.escaping import one_line
from kernels.imports import ImportProblem, load_imports, specs
from kernels.imports import add_option as add_import_option

if TYPE_CHECKING:
    from benches.doctor.selftest import Check

SELFTEST_POINT_S = 120.0  # a check that takes longer fails


def add_command(commands: Any) -> None:
    """`commands`: what argparse's add_subparsers gives."""
    doctor = commands.add_parser("doctor", help="describe this machine, list what would disturb measurements on it, and suggest remedies")
    doctor.add_argument("--selftest", action="store_true", help="run every op × impl × precision once against its reference")
    doctor.add_argument("--json", type=Path, metavar="FILE", help="write facts, findings and checks to a JSON file")
    doctor.add_argument("--run-dir", type=Path, metavar="DIR", help="where runs will be written (default: runs/)")
    add_import_option(doctor)
    doctor.set_defaults(run=main)


def main(given: argparse.Namespace) -> int:
    from benches.doctor.probe import RUNS, probe

    facts = probe(given.run_dir or RUNS)
    try:
        imports = load(specs(given.imports), kind_of(facts))
    except (ImportProblem, RuntimeError) as error:
        print(one_line(str(error)), file=sys.stderr)
        return 2
    findings = judge(facts)
    console = open_console()
    if given.selftest:
        show(findings, console)  # first: the checks take minutes
    checks = selftest(facts, console, imports) if given.selftest else None
    if given.json:
        try:
            write_json(given.json, facts, findings, None if checks is None else [asdict(check) for check in checks])
        except OSError as error:
            print(f"error: cannot write {given.json}: {error.strerror}", file=sys.stderr)
            return 2
    if not given.selftest:
        show(findings, console)
    failed = any(check.verdict == "fail" for check in checks or ()) or checks == []
    return 0 if can_measure(findings) and not failed else 1


def kind_of(facts: Facts) -> str:
    """The device that the self-test runs on."""
    return "cuda" if facts.software.cuda_available else "cpu"


def load(named: Sequence[str], kind: str) -> list[str]:
    """Loads other people's files and returns what a worker loads. Raises ImportProblem and RuntimeError."""
    if named:
        interpreter.choose(kind)  # a file may import triton, which then interprets or compiles for good
    return [one.again for one in load_imports(named)]


def selftest(facts: Facts, console: Console, imports: Sequence[str] = ()) -> list[Check]:
    """Prints each check as it ends. Empty where there is no device to check on."""
    from benches.devices.opening import NoDevice
    from benches.run.isolation import Isolated, WorkerError

    kind = kind_of(facts)
    try:
        interpreter.choose(kind)
        from benches.doctor.selftest import SEED, run

        console.print(f"\nself-test on {kind}", highlight=False)
        with tempfile.TemporaryDirectory() as folder:
            opening = {"kind": kind, "run_dir": Path(folder), "seed": SEED, "asked": {}, "imports": imports}
            measurer = Isolated(opening, Path(folder) / "worker.log", SELFTEST_POINT_S)
            try:
                measurer.describe()
                checks = run(measurer, lambda check: console.print(check.line(), markup=False, highlight=False, soft_wrap=True))
            finally:
                measurer.close()
    except (NoDevice, WorkerError, RuntimeError) as error:
        print(f"error: the self-test cannot start: {error}", file=sys.stderr)
        return []
    for text in summary(checks):
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    return checks


def summary(checks: Sequence[Check]) -> list[str]:
    """A line for each op and implementation, then the total."""
    groups: dict[tuple[str, str], Counter[str]] = {}
    for check in checks:
        groups.setdefault((check.op, check.impl), Counter())[check.verdict] += 1
    width = max(len(f"{op} {impl}") for op, impl in groups)
    lines = [f"{f'{op} {impl}':{width}}  {counted(counts)}" for (op, impl), counts in groups.items()]
    total = Counter(check.verdict for check in checks)
    return [*lines, f"{len(checks)} points in {sum(check.wall_s for check in checks):.0f} s: {counted(total)}"]


def counted(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("pass", "fail", "unsupported"))
