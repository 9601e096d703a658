"""`python -m benches list`: what can be named in a sweep or on a command line, a line each."""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from benches.sweep.load import SWEEPS, SweepError, load_sweep, sweep_names
from benches.sweep.shapes import model_names, read_model
from benches.units import bytes_text
from kernels.console import open_console
from kernels.escaping import one_line
from kernels.gpus import GpuError, gpu_names, load_gpu
from kernels.imports import ImportProblem, load_imports, specs
from kernels.imports import add_option as add_import_option
from kernels.op import Impl, Option
from kernels.precisions import PRECISIONS
from kernels.registry import OPS
from kernels.strict_yaml.problems import valid_names

WIDTH = 80  # columns
OPTION = "  "  # before the name of an option, which stands under its op

Entry = tuple[str, str]  # a name, and what is known of it


def add_command(commands: Any) -> None:
    """`commands`: what argparse's add_subparsers gives."""
    what = "sweeps, ops with their options, implementations, precisions, models and GPUs, a line each"
    command = commands.add_parser("list", help=what, description=what)
    command.add_argument(
        "subject",
        nargs="*",
        type=known_subject,
        metavar="SUBJECT",
        help=f"only these, with everything about them: {', '.join(SUBJECTS)} (default: all, each cut to {WIDTH} columns)",
    )
    add_import_option(command)
    command.set_defaults(run=main)


def known_subject(name: str) -> str:
    """The name. Raises ArgumentTypeError, which argparse shows, for one that is not listed."""
    if name not in SUBJECTS:
        raise argparse.ArgumentTypeError(f"unknown subject {name!r}{valid_names(name, SUBJECTS)}")
    return name


def main(given: argparse.Namespace) -> int:
    try:
        load_imports(specs(given.imports))
    except ImportProblem as error:
        print(one_line(str(error)), file=sys.stderr)
        return 2
    show(given.subject, open_console())
    return 0


def show(subjects: Iterable[str], console: Console) -> None:
    """Prints the subjects named, long texts on several lines; without any all of them, each entry on one line."""
    asked = tuple(dict.fromkeys(subjects))
    for subject in asked or SUBJECTS:
        for line in lines(subject, list(SUBJECTS[subject]()), cut=not asked):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def lines(subject: str, entries: list[Entry], cut: bool) -> Iterator[str]:
    """A heading, then a name and its text for each entry, in WIDTH columns: cut at the end of the line, or wrapped."""
    column = 2 + max(len(name) for name, _ in entries) + 2
    yield f"{subject}:"
    for name, text in entries:
        begin = f"  {name}".ljust(column)
        if cut:
            yield begin + shortened(text, WIDTH - column)
        else:
            yield from textwrap.wrap(begin + text, WIDTH, subsequent_indent=" " * column, break_on_hyphens=False, drop_whitespace=True)
    yield ""


def shortened(text: str, room: int) -> str:
    """The text, or as many of its words as fit with a mark that some are left out."""
    return textwrap.shorten(text, room, placeholder=" …", break_on_hyphens=False)


def sweeps() -> Iterator[Entry]:
    """The shipped sweeps: points, ops, and the first sentence of the file."""
    for name in sweep_names():
        try:
            points = load_sweep(name).points
        except SweepError as error:
            yield name, f"cannot be read: {error.problems[0]}"
            continue
        yield name, f"{len(points)} points. {about(SWEEPS / f'{name}.yaml')} Ops: {', '.join(dict.fromkeys(p.op for p in points))}."


def ops() -> Iterator[Entry]:
    """The ops, each followed by its options."""
    for op in OPS.values():
        yield op.name, op.doc
        for name, option in op.options.items():
            yield OPTION + name, values(option)


def values(option: Option) -> str:
    """What can be chosen, and which of it is the default."""
    if not option.choices:
        return "a text, which must be given" if option.default is None else f"a text (default: {option.default})"
    named = ", ".join(f"{choice} (default)" if choice == option.default else choice for choice in option.choices)
    return f"must be given: {named}" if option.default is None else named


def implementations() -> Iterator[Entry]:
    """The implementations by name, and the ops that have one so called."""
    found: dict[tuple[str, str], list[str]] = {}
    for op in OPS.values():
        for impl in op.impls.values():
            found.setdefault((impl.name, written_in(impl)), []).append(op.name)
    for (name, language), having in found.items():
        yield name, f"{language}: {', '.join(having)}"


def written_in(impl: Impl) -> str:
    """The language of an implementation, for a reader."""
    if impl.language == "triton":
        return "Triton"
    return "PyTorch, compiled by torch.compile" if impl.by_torch_compile else "PyTorch"


def precisions() -> Iterator[Entry]:
    """The number formats."""
    for p in PRECISIONS.values():
        plural = "s" if p.bytes > 1 else ""
        yield p.name, f"{p.bytes} byte{plural}, {p.exponent_bits} exponent and {p.mantissa_bits} mantissa bits, largest {p.max:.5g}"


def models() -> Iterator[Entry]:
    """The models whose layers `shapes_from` takes."""
    for name in model_names():
        try:
            model = read_model(name)
        except SweepError as error:
            yield name, f"cannot be read: {error.problems[0]}"
            continue
        a = model.architecture
        experts = f", {a.active_parameters:.4g} of them active" if a.experts else ""
        numbers = ", ".join(f"{key} {getattr(a, key)}" for key in ("layers", "d_model", "heads", "kv_heads", "d_ff", "vocab"))
        yield name, f"{a.parameters:.4g} parameters{experts}; {numbers}"


def gpus() -> Iterator[Entry]:
    """The GPUs that configs/gpus describes."""
    for name in gpu_names():
        try:
            gpu = load_gpu(name)
        except GpuError as error:
            yield name, f"cannot be read: {error}"
            continue
        peak = gpu.peak_flops_per_s.get("bf16")
        speed = "" if peak is None else f"{peak / 1e12:g} TFLOP/s bf16, "
        memory = f"{bytes_text(gpu.memory_bytes)} at {gpu.bandwidth_bytes_per_s / 1e12:g} TB/s"
        yield name, f"{speed}{memory}; boards: {', '.join(gpu.boards)}"


def about(path: Path) -> str:
    """The first sentence of the comment at the top of a YAML file; nothing where there is none."""
    comment = re.match(r"(?:#.*\n)*", path.read_text(encoding="utf-8"))
    text = re.sub(r"\s*\n?# ?", " ", comment[0] if comment else "").strip()
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]


SUBJECTS: dict[str, Callable[[], Iterator[Entry]]] = {
    "sweeps": sweeps,
    "ops": ops,
    "implementations": implementations,
    "precisions": precisions,
    "models": models,
    "gpus": gpus,
}
