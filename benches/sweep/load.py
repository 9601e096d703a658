"""Sweeps: a YAML file to the points that it stands for.

    sweep = load_sweep("nightly")          # configs/sweeps/nightly.yaml, or a path
    for point in sweep.points: ...

Every mistake is reported at once, before anything runs, as a SweepError with one line each. Reading is bounded: no file makes it
take more than about a second, or expand more points than it may hold. docs/reference/sweep-yaml.md describes the format, and the shipped
sweeps show it; besides what they show, `points: {table: TEXT}` is a CSV inside the YAML, which is how a run's own sweep.yaml lists shapes.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import yaml

from benches.sweep.entry import Entry, read_entry
from benches.sweep.given import KEYS, every_option
from benches.sweep.shapes import Row
from kernels.guard import ROOT
from kernels.op import Point
from kernels.strict_yaml.nodes import MAX_NODES, Map, Seq, describe, read_text, read_yaml
from kernels.strict_yaml.problems import Problems, Spot, SweepError, quote, valid_names
from kernels.strict_yaml.values import integer, known_keys, missing, word

__all__ = ["Sweep", "SweepError", "load_sweep", "load_sweeps", "sweep_names"]

SWEEPS = ROOT / "configs" / "sweeps"
DEFAULT_MAX_POINTS = 20_000
HIGHEST_MAX_POINTS = 100_000  # expands in seconds and a few hundred megabytes; a night measures 20,000
MAX_ENTRIES = 1_000
MAX_NAME = 100
NAME = re.compile(r"[A-Za-z0-9_.+-]+")
FILE_KEYS = {  # what each holds, which the reference pages print
    "name": "The name of the sweep. Default: the file's.",
    "sweeps": "The list of entries, which must be given.",
    "defaults": "Keys that every entry gets which does not have them.",
    "max_points": f"The most points that the file may expand to, before `where` and `exclude`. Default: {DEFAULT_MAX_POINTS}; at most "
    f"{HIGHEST_MAX_POINTS}.",
}


@dataclass(frozen=True)
class Sweep:
    """What to measure."""

    name: str
    path: Path
    points: tuple[Point, ...]  # ids are unique: the first of equal points stays, with the labels of all
    duplicates: int  # points left out because an equal one came before
    max_points: int
    entries: tuple[Entry, ...]

    @cached_property
    def resolved(self) -> str:
        """YAML that gives the same points on its own, from any directory. Written at first use: planning and collecting need none."""
        document = {"name": self.name, "max_points": self.max_points, "sweeps": [_written(entry) for entry in self.entries]}
        return yaml.dump(document, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)


def sweep_names() -> list[str]:
    """The shipped sweeps."""
    return sorted(path.stem for path in SWEEPS.glob("*.yaml"))


def load_sweep(name_or_path: str | Path) -> Sweep:
    """The sweep of a file, or of a bare name: configs/sweeps/NAME.yaml. Raises SweepError, which holds every mistake found."""
    return load_sweeps([name_or_path])


def load_sweeps(names_or_paths: Sequence[str | Path]) -> Sweep:
    """Several sweeps as one, in the order given: entries one after another, equal points once. Raises SweepError."""
    problems: list[str] = []
    files = []
    for name in names_or_paths:
        try:
            files.append(_read(str(name)))
        except SweepError as error:
            problems += error.problems
    if problems:
        raise SweepError(problems)
    return _sweep(files)


@dataclass(frozen=True)
class _File:
    """A sweep file that is right, not yet expanded."""

    name: str
    path: Path
    max_points: int
    entries: list[Entry]
    points: list[Point]  # equal ones among them


def _read(name_or_path: str) -> _File:
    problems = Problems()
    path, file = _find(name_or_path, problems)
    root = read_yaml(read_text(path, Spot(file, 1), "sweep", problems), file, problems)
    known_keys(root, FILE_KEYS, "a sweep", problems)
    name = _name(root, path, problems)
    limit = root.items.get("max_points")
    max_points = integer(limit.value, "max_points", problems, 1, HIGHEST_MAX_POINTS) if limit else None
    entries = _entries(root, Path(file).parent, max_points or DEFAULT_MAX_POINTS, problems)
    points = _expand(entries, problems)
    problems.check()
    return _File(name, path, max_points or DEFAULT_MAX_POINTS, entries, points)


def _sweep(files: Sequence[_File]) -> Sweep:
    points = [point for file in files for point in file.points]
    unique: dict[str, Point] = {}
    for point in points:
        first = unique.setdefault(point.id, point)
        if first is not point and point.label and point.label not in first.label.split(", "):
            unique[point.id] = replace(first, label=", ".join(filter(None, (first.label, point.label))))
    name = "+".join(file.name for file in files)[:MAX_NAME]
    entries = tuple(entry for file in files for entry in file.entries)
    max_points = min(sum(file.max_points for file in files), HIGHEST_MAX_POINTS)
    return Sweep(name, files[0].path, tuple(unique.values()), len(points) - len(unique), max_points, entries)


def _find(name: str, problems: Problems) -> tuple[Path, str]:
    """The file, and what messages call it: a path as given, a shipped sweep as seen from here."""
    if not re.fullmatch(r"[\w-]+", name):
        return Path(name), name
    path = SWEEPS / f"{name}.yaml"
    file = os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    if not path.is_file():
        shipped = sweep_names()
        problems.fail(Spot(file, 1), "sweep", f"unknown sweep {quote(name)}; shipped: {', '.join(shipped)}{valid_names(name, shipped)}")
    return path, file


def _name(root: Map, path: Path, problems: Problems) -> str:
    if "name" not in root.items:
        return path.stem
    node = root.items["name"].value
    name = word(node, "name", problems)
    if name is not None and (len(name) > MAX_NAME or not NAME.fullmatch(name)):
        problems.add(node.spot, "name", f"{quote(name)} needs 1 to {MAX_NAME} letters, digits and _ . + -")
    return name or ""


def _entries(root: Map, folder: Path, max_points: int, problems: Problems) -> list[Entry]:
    """The entries that are right. Raises SweepError at once where there are too many points."""
    defaults = root.items["defaults"].value if "defaults" in root.items else Map(root.spot, {}, 1)
    if not isinstance(defaults, Map):
        problems.fail(defaults.spot, "defaults", f"needs a mapping of keys, not {describe(defaults)}")
    known_keys(defaults, (*KEYS, *every_option()), "defaults", problems)
    if "sweeps" not in root.items:
        missing(root.spot, "sweeps", (), problems)
        return []
    spot, listed = root.items["sweeps"].spot, root.items["sweeps"].value
    if not isinstance(listed, Seq) or not 0 < len(listed.items) <= MAX_ENTRIES:
        problems.fail(spot, "sweeps", f"needs a list of 1 to {MAX_ENTRIES} entries such as - {{op: matmul, …}}")
    if listed.size + len(listed.items) * defaults.size > MAX_NODES:
        problems.fail(spot, "sweeps", f"more than {MAX_NODES} values, with the defaults merged into every entry")
    entries, total = [], 0
    for node in listed.items:
        entry = read_entry(node, defaults, folder, problems)
        if entry is None:
            continue
        total += entry.count()
        if total > max_points:
            problems.fail(entry.spot, "max_points", f"{total} points up to this entry ({entry.count()} in it), more than {max_points}")
        entries.append(entry)
    return entries


def _expand(entries: Sequence[Entry], problems: Problems) -> list[Point]:
    points: list[Point] = []
    for entry in entries:
        points_before, problems_before = len(points), len(problems)
        points += entry.expand(problems)
        if (len(points), len(problems)) == (points_before, problems_before):
            key = "where" if entry.filters.wheres else "exclude"
            problems.add(entry.spots[key], key, "leaves no points")
    return points


class _Block(str):
    """Text that YAML shows as lines."""


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # the one in C where PyYAML was built with it
    """Writes each entry in full, without aliases, and leaf lists on one line."""

    def ignore_aliases(self, data: object) -> bool:
        return True


_Dumper.add_representer(_Block, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|"))


def _written(entry: Entry) -> dict[str, object]:
    """An entry as YAML gives it, with defaults, models and files written out."""
    excludes = [w.text for w in entry.filters.excludes] + [{key: list(values) for key, values in m.items()} for m in entry.filters.matches]
    return {
        "op": entry.op.name,
        "impl": list(entry.impls),
        "precision": list(entry.precisions),
        **{option: list(values) for option, values in entry.options.items()},
        **({"dims": {dim: list(sizes) for dim, sizes in entry.axes.items()}} if entry.axes else {}),
        **({"points": {"table": _table(entry.rows)}} if entry.rows[0].dims or entry.rows[0].options else {}),
        **({"where": [w.text for w in entry.filters.wheres]} if entry.filters.wheres else {}),
        **({"exclude": excludes} if excludes else {}),
    }


def _table(rows: Sequence[Row]) -> _Block:
    cells: list[Mapping[str, object]] = [{"label": row.label, **row.options, **row.dims} for row in rows]
    columns = [name for name in dict.fromkeys(key for row in cells for key in row) if any(row.get(name) for row in cells)]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(cells)
    return _Block(text.getvalue())
