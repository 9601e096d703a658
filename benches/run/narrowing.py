"""Which pytest options narrowed a run to some points of its sweep: a run is compared with runs that were narrowed in the same way. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

EXPRESSIONS = {"keyword": "-k", "markexpr": "-m", "shard": "--shard"}  # by the name under which pytest's configuration holds them
LISTS = {"deselect": "--deselect", "ignore": "--ignore", "ignore_glob": "--ignore-glob"}
SWITCHES = {"lf": "--last-failed"}
POINTS, TEST = "test_points.py", "test_point"  # which collect every point
OR = "; "  # between the parts of a resumed run


def narrowed_by(options: Mapping[str, Any], paths: Sequence[tuple[Path, str]], benches: Path) -> str | None:
    """Returns the options that left points out, as a shell takes them (`-k 'bf16 and triton'`); None where none did.

    options: pytest's, by name; those of a plug-in that is switched off are missing. paths: what the command line names, each file or folder
    with the test in it ("" for all): narrowing only where none of them holds all of `benches`.
    """
    words = [word for name, option in EXPRESSIONS.items() if (text := _one_line(options.get(name))) for word in (option, text)]
    words += [word for name, option in LISTS.items() for value in options.get(name) or () for word in (option, _one_line(value))]
    words += [option for name, option in SWITCHES.items() if options.get(name)]
    whole = {(benches, ""), (benches / POINTS, ""), (benches / POINTS, TEST), *((folder, "") for folder in benches.parents)}
    if not whole & set(paths):
        inside = sorted((path.relative_to(benches).as_posix(), test) for path, test in paths if benches in path.parents)
        words += [f"{path}::{test}" if test else path for path, test in inside]
    return shlex.join(words) or None


def together(before: str | None, now: str | None) -> str | None:
    """Returns the options that narrowed a run of two parts, the second one resumed; None where one part was to measure every point."""
    if before is None or now is None:
        return None
    return before if now in before.split(OR) else before + OR + now


def _one_line(value: object) -> str:
    return " ".join(str(value or "").split())
