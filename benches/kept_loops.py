"""Main loops of compiled Triton kernels, kept by `plan --bounds`, so that later plans have them without Triton: JSON in its cache folder.

A file is found by all that its kernels depend on: the implementation's source, Triton's version, the figures of the GPU that they were
compiled for, and the code that reads machine code. What is in it goes by the id of a point.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from benches.run.environment import package_versions
from kernels import kept_json
from kernels.fingerprint import digest, source_hash
from kernels.gpus import Gpu
from kernels.guard import ROOT
from kernels.loop_work import LoopWork
from kernels.op import Point
from kernels.registry import OPS, impl_of

FOLDER = "loops"  # in Triton's cache
READERS = ("machine_code", "machine_loop", "kernel_bound")  # modules of kernels

Loops = dict[str, tuple[LoopWork, ...]]  # by the id of a point; none where no kernel of the point has such a loop


def folder() -> Path:
    """The folder in Triton's cache, by the environment variables that Triton reads: this process does not import it."""
    home = Path(os.environ.get("TRITON_HOME") or Path.home(), ".triton", "cache")
    return Path(os.environ.get("TRITON_CACHE_DIR") or home, FOLDER)


@cache
def _readers() -> str:
    return digest(b"".join((ROOT / "kernels" / f"{name}.py").read_bytes() for name in READERS))


def entry(point: Point, gpu: Gpu) -> Path | None:
    """The file that holds the loops of a point and of all others of its implementation; None where the implementation's source is not
    found, so that a change of it would not be noticed."""
    code = source_hash(OPS[point.op], point.impl)
    if code is None:
        return None
    asked = (point.op, point.impl, code, package_versions()["triton"], gpu.model_dump(exclude={"sources", "model"}), _readers())
    return folder() / f"{digest(repr(asked).encode())}.json"


def load(points: Iterable[Point], gpu: Gpu) -> Loops:
    """The loops of those points for which there are any."""
    if not folder().is_dir():
        return {}
    found: Loops = {}
    for path, some in _by_file(points, gpu).items():
        kept = kept_json.load(path, _parse) or {}
        found |= {point.id: kept[point.id] for point in some if point.id in kept}
    return found


def store(points: Iterable[Point], gpu: Gpu, loops: Mapping[str, Sequence[LoopWork]]) -> None:
    """Adds the loops of points to what is there, where the folder can be written."""
    for path, some in _by_file(points, gpu).items():
        new = {point.id: loops[point.id] for point in some if point.id in loops}
        kept = {**(kept_json.load(path, _parse) or {}), **new}
        kept_json.store(path, {name: [asdict(loop) for loop in each] for name, each in kept.items()})


def _by_file(points: Iterable[Point], gpu: Gpu) -> dict[Path, list[Point]]:
    files: dict[tuple[str, str], Path | None] = {}
    found: dict[Path, list[Point]] = {}
    for point in points:
        if impl_of(point).language == "triton":
            which = point.op, point.impl
            if which not in files:
                files[which] = entry(point, gpu)
            if path := files[which]:
                found.setdefault(path, []).append(point)
    return found


def _parse(kept: dict[str, list[dict[str, Any]]]) -> Loops:
    return {name: tuple(LoopWork(**loop) for loop in loops) for name, loops in kept.items()}
