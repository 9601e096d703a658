"""What a file of any format becomes: an op with its implementations, and the shapes at which they are measured."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kernels.imports import error_line
from kernels.op import Op, Point
from kernels.precisions import PRECISIONS
from kernels.registry import OF_PYTEST, OPS
from kernels.support import Platform

MOST = 40  # characters of a name, as kernels/registry.py takes it
PRECISION_OF = {
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "fp8_e4m3",
    "float8_e5m2": "fp8_e5m2",
}  # by PyTorch's dtype


class FormatError(Exception):
    """A file that cannot be used: one line, `FILE: what is wrong, what to do`."""


@dataclass(frozen=True)
class Problem:
    """An op that a file defines, not yet registered. `shapes`: its dims, where the file gives them. sized: no other dims are possible."""

    op: Op
    precisions: tuple[str, ...]
    shapes: tuple[Mapping[str, int], ...] = ()
    sized: bool = False
    unknown: str | None = None  # an input whose value only a workload gives, where none does
    notes: Sequence[str] = field(default_factory=tuple)  # lines for the reader


def name_of(text: str, kind: str) -> str:
    """A name for an op or an implementation: that of a file or a definition in lower case; `kind` goes before one that starts otherwise or
    that nothing may have. One that is too long ends in a hash of all of it, since names often differ at their ends only."""
    plain = re.sub(r"[^0-9a-z]+", "_", text.lower()).strip("_")
    found = plain if re.match("[a-z]", plain) and plain not in OF_PYTEST | set(PRECISIONS) else f"{kind}_{plain}".rstrip("_")
    if len(found) <= MOST:
        return found
    ending = hashlib.sha256(text.encode()).hexdigest()[:6]
    return f"{found[: MOST - len(ending) - 1].rstrip('_')}_{ending}"


def name_of_op(text: str, kind: str) -> str:
    """As `name_of`; `kind` goes before the name of an op that the suite has."""
    found = name_of(text, kind)
    return name_of(f"{kind}_{text}", kind) if found in OPS else found


def refuse_always(reason: str) -> Any:
    """`Impl.refuses` of what cannot run on any platform."""

    def refuse(point: Point, platform: Platform) -> str:
        return reason

    return refuse


def failed(error: BaseException, file: str, doing: str) -> FormatError:
    """The error of an author's code as one line: where it was raised, while doing what."""
    line = error_line(error, file, file).partition("; it was raised while importing")[0]
    return FormatError(f"{line}; it was raised {doing}: correct it, then try again")
