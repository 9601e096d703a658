"""What a file of any format becomes: an op with its implementations, and the shapes at which they are measured."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kernels.imports import error_line
from kernels.op import Op, Point
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
    notes: Sequence[str] = field(default_factory=tuple)  # lines for the reader


def name_of(text: str, kind: str) -> str:
    """A name for an op or an implementation: that of a file or a definition in lower case; `kind` goes before one that starts otherwise."""
    plain = re.sub(r"[^0-9a-z]+", "_", text.lower()).strip("_")
    return (plain if re.match("[a-z]", plain) else f"{kind}_{plain}".rstrip("_"))[:MOST].rstrip("_")


def refuse_always(reason: str) -> Any:
    """`Impl.refuses` of what cannot run on any platform."""

    def refuse(point: Point, platform: Platform) -> str:
        return reason

    return refuse


def failed(error: BaseException, file: str, doing: str) -> FormatError:
    """The error of an author's code as one line: where it was raised, while doing what."""
    line = error_line(error, file, file).partition("; it was raised while importing")[0]
    return FormatError(f"{line}; it was raised {doing}: correct it, then try again")
