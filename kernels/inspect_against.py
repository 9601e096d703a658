"""`python -m kernels inspect --against REF`: the same kernels as another commit has them, side by side. Judges a change without a GPU.

Worse is: a kernel that passed and fails now, more spills, fewer blocks an SM, more than OTHERS further instructions for each matrix
instruction, a bound that is lower by more than LOWER, or, of a kernel without a loop, more instructions by more than LONGER. A figure that
one of the two commits does not record is not compared.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from kernels.escaping import markdown
from kernels.guard import ROOT

OTHERS, LOWER, LONGER = 0.5, 0.02, 0.02
Record = Mapping[str, Any]  # of one kernel, as `inspect --json` writes it


class RefError(Exception):
    """The other commit cannot be compiled; the message is one line."""


@dataclass(frozen=True)
class Change:
    """What differs in one figure of one kernel."""

    kernel: str
    figure: str
    before: str
    after: str
    worse: bool


def changes(before: Sequence[Record], after: Sequence[Record]) -> list[Change]:
    """Every difference of the kernels that both have, and the kernels that only one has; what became worse comes first."""
    old, new = ({one["id"]: one for one in records} for records in (before, after))
    found = [change for name in old if name in new for change in _of_one(old[name], new[name])]
    found += [Change(name, "kernel", old[name]["status"], "gone", worse=False) for name in old if name not in new]
    found += [Change(name, "kernel", "", f"new, {new[name]['status']}", worse=False) for name in new if name not in old]
    return sorted(found, key=lambda change: not change.worse)


def _of_one(old: Record, new: Record) -> Iterator[Change]:
    for figure, value, text, is_worse in FIGURES:
        a, b = value(old), value(new)
        if a is None or b is None or a == b:
            continue
        yield Change(new["id"], figure, text(a), text(b), is_worse(a, b))


def _others(record: Record) -> float | None:
    loop = record.get("loop")
    return loop.get("others_each") if loop else None


def _without_loop(record: Record) -> int | None:
    """Instructions of a kernel that runs each of them once."""
    return None if record.get("loop") else record.get("instruction_count")


Figure = tuple[str, Callable[[Record], Any], Callable[[Any], str], Callable[[Any, Any], bool]]
FIGURES: tuple[Figure, ...] = (
    ("verdict", lambda record: record["status"], str, lambda a, b: b == "fail"),
    ("spills", lambda record: record.get("spills"), str, lambda a, b: b > a),
    ("blocks an SM", lambda record: record.get("blocks_per_sm"), str, lambda a, b: b < a),
    ("others for each matrix instruction", _others, "{:.1f}".format, lambda a, b: b > a + OTHERS),
    ("bound", lambda record: record.get("bound"), "{:.1%}".format, lambda a, b: b < a - LOWER),
    ("instructions, without a loop", _without_loop, str, lambda a, b: b > a * (1 + LONGER)),
    ("registers", lambda record: record.get("registers"), str, lambda a, b: False),
)


def records_at(ref: str, arguments: Sequence[str]) -> list[Record]:
    """What the commit's own `inspect` records, run in a checkout that is removed again. arguments: of `inspect`. Raises RefError."""
    with tempfile.TemporaryDirectory(prefix="inspect-") as folder:
        tree, out = Path(folder, "tree"), Path(folder, "kernels.json")
        try:
            added = _run(["git", "worktree", "add", "--detach", str(tree), ref], ROOT)
        except OSError as error:
            raise RefError(f"--against {ref}: git cannot be run: {error.strerror}") from error
        if added.returncode:
            raise RefError(f"--against {ref}: git cannot check it out: {_reason(added.stderr)}")
        try:
            done = _run([sys.executable, "-m", "kernels", "inspect", *arguments, "--json", str(out)], tree)
            if done.returncode not in (0, 1) or not out.exists():
                raise RefError(f"--against {ref}: its kernels cannot be compiled: {_last(done.stderr)}")
            return json.loads(out.read_text(encoding="utf-8"))["kernels"]
        finally:
            _run(["git", "worktree", "remove", "--force", str(tree)], ROOT)


def _run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", errors="replace", check=False)


def _reason(text: str) -> str:
    """Git's line that says what is wrong; advice may follow it."""
    fatal = [line for line in text.splitlines() if line.startswith("fatal: ")]
    return fatal[0] if fatal else _last(text)


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it printed nothing"


def summary(ref: str, found: Sequence[Change], compared: int) -> str:
    """One line."""
    worse = len({change.kernel for change in found if change.worse})
    differing = len({change.kernel for change in found})
    kernels = "kernel" if compared == 1 else "kernels"
    return f"against {ref}: {compared} {kernels} compared, {differing} differ, {worse} became worse"


def show(ref: str, found: Sequence[Change], compared: int, console: Console) -> None:
    """A line a change, then the summary."""
    if found:
        table = Table("", "kernel", "figure", "before", "after", pad_edge=False)
        for change in found:
            table.add_row("worse" if change.worse else "", change.kernel, change.figure, change.before, change.after)
        console.print(table)
    console.print(summary(ref, found, compared), highlight=False)


def as_markdown(ref: str, found: Sequence[Change], compared: int) -> str:
    """The same for a pull request's comment."""
    lines = [f"**{markdown(summary(ref, found, compared))}**", ""]
    if found:
        lines += ["| | kernel | figure | before | after |", "|---|---|---|---:|---:|"]
        for change in found:
            cells = ["worse" if change.worse else "", change.kernel, change.figure, change.before, change.after]
            lines.append(f"| {' | '.join(map(markdown, cells))} |")
    return "\n".join(lines) + "\n"
