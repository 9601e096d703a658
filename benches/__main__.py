"""`python -m benches COMMAND`. Exit code 2 where what was asked for cannot be done, with one line a mistake on stderr."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from kernels.guard import check_imports, missing_package_in_a_line

check_imports()  # first: a stranger's package must not be imported

from kernels.printing import print_safely  # noqa: E402

if __name__ == "__main__":
    print_safely()

with missing_package_in_a_line():  # a node where nothing was installed yet starts with doctor
    from benches import kept_loops
    from benches.doctor.doctor_command import add_command as add_doctor
    from benches.first_contact.first_contact_command import add_command as add_first_contact
    from benches.fleet.fleet_command import add_command as add_fleet
    from benches.kernel.kernel_command import add_command as add_kernel
    from benches.listing import add_command as add_list
    from benches.plan import make_plan, show, write_csv
    from benches.shards.merge_command import add_command as add_merge
    from benches.sweep.load import SweepError, load_sweep
    from benches.train.train_command import add_command as add_train
    from kernels import interpreter
    from kernels.console import open_console
    from kernels.escaping import one_line
    from kernels.gpus import DEFAULT_GPU, GpuError, find_gpu, gpu_help
    from kernels.imports import ImportProblem, load_imports, specs
    from kernels.imports import add_option as add_import_option


def make_parser() -> argparse.ArgumentParser:
    """Every command and its options."""
    parser = argparse.ArgumentParser(prog="python -m benches", description="Sweeps of kernels, beside their measurement by pytest.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    plan = commands.add_parser("plan", help="expand a sweep and predict it; needs no GPU and allocates no tensors")
    plan.add_argument("sweep", metavar="SWEEP", help="a name in configs/sweeps, or a YAML file")
    plan.add_argument("--gpu", default=DEFAULT_GPU, metavar="NAME|PATH", help=gpu_help())
    plan.add_argument("-o", "--out", type=Path, metavar="FILE", help="write every point to a CSV file")
    plan.add_argument(
        "--bounds",
        action="store_true",
        help="compile the Triton kernels of the points, for the least time that each can take; kept for later plans",
    )
    plan.add_argument("--jobs", type=int, default=2, metavar="N", help="processes that compile with --bounds (default 2)")
    add_import_option(plan)
    plan.set_defaults(run=_plan)
    add_list(commands)
    add_doctor(commands)
    add_train(commands)
    add_first_contact(commands)
    add_kernel(commands)
    add_merge(commands)
    add_fleet(commands)
    return parser


def main(arguments: list[str] | None = None) -> int:
    given = make_parser().parse_args(arguments)
    with missing_package_in_a_line():  # a command imports some packages only when it runs
        return given.run(given)


def _plan(given: argparse.Namespace) -> int:
    if given.jobs < 1:
        return _refuse(f"error: --jobs: {given.jobs} processes cannot compile; at least 1")
    if given.bounds and interpreter.compile_kernels():  # triton may be imported by now
        os.execv(sys.executable, [sys.executable, "-m", "benches", *sys.argv[1:]])
    problems: list[str] = []
    compiled: kept_loops.Loops = {}
    try:
        load_imports(specs(given.imports))
        plan = make_plan(load_sweep(given.sweep), find_gpu(given.gpu))
        points = [plan.points[i] for i in plan.in_triton]
        if given.bounds:
            from benches.compile_loops import compile_loops  # with torch and Triton, which other plans do without

            compiled, problems = compile_loops(points, plan.gpu, given.jobs)
            kept_loops.store(points, plan.gpu, compiled)
        plan = replace(plan, loops=kept_loops.load(points, plan.gpu) | compiled)
        if given.out:
            write_csv(plan, given.out)
    except SweepError as error:
        return _refuse(*error.problems)
    except ImportProblem as error:
        return _refuse(one_line(str(error)))
    except GpuError as error:
        return _refuse(f"error: --gpu: {error}")
    except OSError as error:
        return _refuse(f"error: cannot write {given.out}: {error.strerror}")
    for line in problems:
        print(f"no bound: {one_line(line)}", file=sys.stderr)
    show(plan, open_console())
    if given.out:
        print(f"{len(plan.points)} points in {given.out}")
    return 0


def _refuse(*lines: str) -> int:
    for line in lines:
        print(line, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
