"""`python -m benches kernel FILE`: checks and times the kernels of a file, and prints a table; the run directory is like that of any run.

Exit code 0: every point is ok, noisy or verified; 1: some point is not; 2: nothing in the file can be measured, or the run cannot start.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from benches.devices.opening import NoDevice, automatic_kind
from benches.kernel.formats import LOOKED_FOR, door, is_own_format, read
from benches.kernel.problem import FormatError, failed, name_of
from benches.kernel.table import show_table
from benches.row import Row
from benches.run.isolation import Isolated, WorkerError, free_memory_share, longest_call_s
from benches.run.journal import NAME, JournalError
from benches.run.order import shuffled
from benches.run.pool import Pool, Worker
from benches.run.run import DeviceLostError, Request, Run, RunError, default_run_dir
from benches.sweep.load import Sweep, SweepError, load_sweep
from kernels import interpreter
from kernels.console import open_console
from kernels.escaping import one_line
from kernels.gpus import DEFAULT_GPU, GpuError, find_gpu, gpu_help, load_gpu
from kernels.guard import ROOT
from kernels.imports import Imported, ImportProblem, load_imports
from kernels.op import Op, OpError, Point
from kernels.registry import OPS, language_of, registered
from kernels.support import Platform

GOOD = ("ok", "noisy", "verified")
SEED = 20260101
POINT_S = 300.0
DEFAULT_DIMS = {"matmul": {"m": 1024, "n": 1024, "k": 1024}, "elementwise": {"m": 1024, "n": 1024}}  # of ops that ship
SIMULATED = "the device is simulated: no kernel was run and no result checked; times are the prediction with noise"
HELP = "check and time the kernels of a file: your own, KernelBench's or flashinfer-bench's (docs/own-kernel.md)"


def add_command(commands: Any) -> None:
    """`commands`: what argparse's add_subparsers gives."""
    kernel = commands.add_parser("kernel", help=HELP, description=HELP)
    kernel.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a .py or .json file; a reference and its solution may be two")
    kernel.add_argument("--dims", type=_dims, metavar="NAME=N,…", help="sizes, such as m=4096,n=4096 (default: those of the file)")
    kernel.add_argument(
        "--precision", action="append", metavar="NAME", help="only this precision, repeatable (default: all that the kernel supports)"
    )
    kernel.add_argument("--device", choices=("auto", "cuda", "cpu", "simulated"), default="auto", help="where to measure (default: auto)")
    kernel.add_argument("--gpu", default=DEFAULT_GPU, metavar="NAME|PATH", help=f"without a GPU, compile Triton for:  {gpu_help()}")
    kernel.add_argument("--run-dir", type=Path, metavar="DIR", help="where to write the run (default: runs/<time>-<host>-<commit>)")
    kernel.add_argument("--seed", type=int, default=SEED, metavar="N", help=f"seed of inputs and order (default: {SEED})")
    kernel.set_defaults(run=main)


def _dims(text: str) -> dict[str, int]:
    found = {}
    for pair in text.split(","):
        name, _, size = pair.partition("=")
        if not name.strip() or not size.strip().isdecimal() or int(size) < 1:
            raise argparse.ArgumentTypeError(f"{pair!r} is not NAME=N with a positive integer, such as m=4096")
        found[name.strip()] = int(size)
    return found


@dataclass(frozen=True)
class Found:
    """What the files registered: implementations by op, with shapes and precisions where the files give them."""

    file: str
    imports: tuple[Imported, ...]
    impls: Mapping[str, Sequence[str]]
    precisions: Sequence[str] | None = None
    shapes: Sequence[Mapping[str, int]] = ()
    notes: Sequence[str] = ()


def main(given: argparse.Namespace) -> int:
    kind = automatic_kind() if given.device == "auto" else given.device
    run_dir: Path = (given.run_dir or default_run_dir()).absolute()
    try:
        find_gpu(given.gpu)
        interpreter.choose(kind)
        if (run_dir / NAME).exists():
            raise RunError(f"{run_dir} already holds a run: name another --run-dir")
        found = find([path.absolute() for path in given.files], run_dir, given.dims)
        sweep = make_sweep(found, given.dims, given.precision)
        if sys.stderr.isatty():  # on a CPU the device alone takes 15 s, and compiling longer
            count = len(sweep.points)
            print(f"measuring {count} {'point' if count == 1 else 'points'} on {kind}", file=sys.stderr)
        rows, environment = measured_rows(found, sweep, kind, run_dir, given.seed)
    except (FormatError, ImportProblem) as error:
        return _refuse(str(error))
    except GpuError as error:
        return _refuse(f"error: --gpu: {error}")
    except SweepError as error:
        return _refuse(*(problem.partition(": ")[2] for problem in error.problems))
    except (RunError, NoDevice, WorkerError, JournalError, DeviceLostError, RuntimeError) as error:
        return _refuse(f"error: {error}")
    except OSError as error:
        return _refuse(f"error: {error.filename or run_dir}: {error.strerror}: name another --run-dir")
    console = open_console()
    show_table(rows, environment, console)
    if kind == "simulated":
        console.print(SIMULATED, markup=False, highlight=False, soft_wrap=True)
    for note in found.notes:
        console.print(one_line(f"note: {note}"), markup=False)
    compiled = kind == "cuda" or inspected(found, rows, given.gpu, run_dir, console)
    _make_page(run_dir)
    return 0 if compiled and all(row.status in GOOD for row in rows) else 1


def inspected(found: Found, rows: Sequence[Row], gpu: str, run_dir: Path, console: Console) -> bool:
    """Compiles the Triton kernels of the files for a GPU that is not here and prints what the machine code shows, which inspect.json in the
    run directory holds for the page. Returns whether all passed; True without any."""
    written = [row for row in rows if language_of(row.op, row.impl) == "triton"]
    triton = dict.fromkeys((row.op, row.impl, row.precision) for row in written)
    if not triton:
        return True
    out = run_dir / "inspect.json"
    only = [word for op, impl, precision in triton for word in ("--only", f"{op}:{precision}:{impl}")]
    imports = [word for one in found.imports for word in ("--import", one.again)]
    command = [sys.executable, "-m", "kernels", "inspect", "--gpu", gpu, "--json", str(out), *only, *imports]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", errors="replace", check=False)
    try:
        kernels = json.loads(out.read_text(encoding="utf-8"))["kernels"]
    except (OSError, ValueError, KeyError):
        kernels = []
    for line in compiled_lines(kernels, gpu):
        console.print(one_line(line), markup=False, highlight=False, soft_wrap=True)
    for line in done.stdout.splitlines():
        if line.startswith("FAIL") and not any(kernel["id"] in line for kernel in kernels):
            console.print(one_line(line), markup=False, highlight=False, soft_wrap=True)
    return done.returncode == 0


def compiled_lines(kernels: Sequence[Mapping[str, Any]], gpu: str) -> Iterator[str]:
    """A line for each compiled kernel: what stands in the machine code, or what is wrong with it."""
    for one in kernels:
        name = f"{one['impl']} {one['precision']} {one['variant']}, compiled for {gpu}: {one['status']}"
        loop = one.get("loop") or {}
        facts = (
            []
            if one["registers"] is None
            else [f"{one['registers']} registers", f"{one['spills']} spills", f"{one['shared_bytes']:,} B shared"]
        )
        facts += [f"{shape} in the main loop" for shape in loop.get("matrix", ())]
        yield f"{name}; {one['reason'] or ', '.join(facts)}"


def _refuse(*lines: str) -> int:
    for line in lines:
        print(one_line(line), file=sys.stderr)
    return 2


def find(paths: Sequence[Path], run_dir: Path, dims: Mapping[str, int] | None) -> Found:
    """Loads the files, and registers what is in them. Raises FormatError and ImportProblem."""
    if missing := [path for path in paths if not path.is_file()]:
        raise FormatError(f"{missing[0]}: there is no such file; {LOOKED_FOR}")
    before = {name: set(op.impls) for name, op in OPS.items()}
    if is_own_format(paths):
        imports = load_imports([str(path) for path in paths])
        new = {name: [impl for impl in op.impls if impl not in before.get(name, ())] for name, op in registered()[0].items()}
        baselines = {name: [OPS[name].baseline] for name, impls in new.items() if impls}
        return Found(str(paths[0]), imports, {name: list(dict.fromkeys([*baselines[name], *new[name]])) for name in baselines})
    problem = read(tuple(paths), run_dir / "sources")
    if dims and problem.sized:
        raise FormatError(f"{paths[0]}: --dims: the sizes of a KernelBench problem are set in its file: change them there")
    if not problem.shapes and not dims:
        raise FormatError(f"{paths[0]}: there is no workload with values for its axes: name a workload's file too, or give --dims")
    if problem.unknown:
        raise FormatError(f"{paths[0]}: the scalar {problem.unknown} has no value: name a workload's file too")
    run_dir.mkdir(parents=True, exist_ok=True)
    file = run_dir / f"import_{name_of(problem.op.name, 'op')}.py"
    file.write_text(door(paths, run_dir / "sources"), encoding="utf-8")
    imports = load_imports([str(file)])
    return Found(str(paths[0]), imports, {problem.op.name: list(problem.op.impls)}, problem.precisions, problem.shapes, problem.notes)


def make_sweep(found: Found, dims: Mapping[str, int] | None, precisions: Sequence[str] | None) -> Sweep:
    """The points: each op at the sizes of --dims, of its file, or of DEFAULT_DIMS. Raises SweepError and FormatError."""
    entries = []
    for name, impls in found.impls.items():
        op = OPS[name]
        example = DEFAULT_DIMS.get(name) or op.example
        shapes = [dims] if dims else list(found.shapes) or ([example] if example else [])
        if not shapes:
            raise FormatError(f"{found.file}: {name} has no sizes of its own: give --dims NAME=N,…")
        options = {key: list(option.choices) for key, option in op.options.items() if option.default is None and option.choices}
        chosen = list(precisions or found.precisions or taken(op, [impl for impl in impls if impl != op.baseline]))
        entries.append({"op": name, "impl": list(impls), "precision": chosen, **options, "points": [dict(shape) for shape in shapes]})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.yaml"
        path.write_text(yaml.safe_dump({"name": "kernel", "sweeps": entries}, sort_keys=False), encoding="utf-8")
        return load_sweep(path)


def taken(op: Op, impls: Sequence[str]) -> list[str]:
    """The precisions that an implementation of the file takes, on an H100 at least; all of the op's where the file has only the op."""
    options = {key: option.choices[0] for key, option in op.options.items() if option.default is None and option.choices}
    dims = DEFAULT_DIMS.get(op.name) or op.example or {}
    gpu = Platform("cuda", load_gpu(DEFAULT_GPU).compute_capability)
    try:
        points = {p: [op.point(impl, p, dims, options) for impl in impls] for p in op.precisions}
    except OpError:  # without dims nothing can be asked of the implementations
        return list(op.precisions)
    found = [p for p, each in points.items() if any(op.impls[one.impl].refuses(one, gpu) is None for one in each)]
    return found or list(op.precisions)


def measured_rows(found: Found, sweep: Sweep, kind: str, run_dir: Path, seed: int) -> tuple[list[Row], dict[str, Any]]:
    """The rows in the sweep's order, measured in a random one like those of any run, and the run's environment."""
    again = [one.again for one in found.imports]
    asked = {} if kind == "cpu" else {"max_call_s": longest_call_s(POINT_S)}
    memory = free_memory_share() if kind == "cpu" else None
    opening = {"kind": kind, "run_dir": run_dir, "seed": seed, "asked": asked, "imports": again}
    request = Request(sweep.resolved, [sweep.name], seed, asked, imports=found.imports)
    run = Run(run_dir, lambda: Pool([Worker(Isolated(opening, run_dir / "worker.log", POINT_S, memory))]), request)
    points = {point.id: point for point in sweep.points}
    rows: dict[str, Row] = {}
    ended = False
    try:
        for name in shuffled(list(points), seed):
            rows[name] = _row_of(run, points[name], found)
        ended = True
    finally:
        run.finish(interrupted=not ended)
    return [rows[name] for name in points], run.environment


def _row_of(run: Run, point: Point, found: Found) -> Row:
    """A point's row. Raises FormatError where the reference fails, without which no point has a cost."""
    try:
        return run.row_of(point)
    except Exception:
        try:
            OPS[point.op].cost(point, "cuda")
        except Exception as error:
            raise failed(error, found.file, f"by the reference of {point.op}") from error
        raise


def _make_page(run_dir: Path) -> None:
    """Makes the page in a process of its own, since measuring needs nothing of what draws it."""
    command = [sys.executable, "-m", "reports", "html", str(run_dir)]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if made.returncode:
        print(one_line(f"no report ({(made.stderr.strip().splitlines() or ['no message'])[-1]}); try: {shlex.join(command)}"))
    else:
        print(one_line(f"run directory with its page: {run_dir}"))
