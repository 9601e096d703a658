"""The list of operations. Adding one is one line here."""

from __future__ import annotations

import json
import math
from functools import partial
from importlib import import_module
from typing import Any

from kernels.op import Impl, Language, Op, OpError, Point
from kernels.parts import VECTOR_PRECISION
from kernels.precisions import PRECISIONS

FOLDERS = (  # in kernels/, each with an OP
    "matmul",
    "elementwise",
    "einsum",
    "layout",
    "einops_op",
    "optimizer",
    "gradient",
    "transformer",
    "training",
)

OPS: dict[str, Op] = {op.name: op for op in (import_module(f"kernels.{folder}").OP for folder in FOLDERS)}


def compute_precision(op: str, precision: str) -> str:
    """The precision whose peak bounds an op: its own on matrix units, VECTOR_PRECISION elsewhere and for ops not known here."""
    return precision if op in OPS and OPS[op].on_matrix_units else VECTOR_PRECISION


def impl_of(point: Point) -> Impl:
    """The implementation that a point names. Raises KeyError for one that is not registered."""
    return OPS[point.op].impls[point.impl]


def point_of(row: Any) -> Point | None:
    """The point of a row; None where this version does not know its op, precision, dims or options.

    row: one of the journal or of a table, with `op`, `impl`, `precision`, `dims` and `options` as attributes or keys. Tables hold dims and
    options as JSON, or fill those that a row lacks with None.
    """
    get = row.__getitem__ if hasattr(row, "keys") else partial(getattr, row)
    op, impl, precision, dims, options = (get(name) for name in ("op", "impl", "precision", "dims", "options"))
    if op not in OPS or precision not in PRECISIONS:
        return None
    sizes = {name: int(size) for name, size in _object(dims).items() if size is not None and not math.isnan(size)}
    chosen = {name: value for name, value in _object(options).items() if isinstance(value, str)}
    try:
        return OPS[op].point(impl, precision, sizes, chosen)
    except OpError:
        return None


def _object(value: Any) -> dict[str, Any]:
    return json.loads(value) if isinstance(value, str) else value


def language_of(op: str, impl: str) -> Language | None:
    """What an implementation is written in, by its name in a row; None for an unknown one."""
    found = OPS[op].impls.get(impl) if op in OPS else None
    return found.language if found else None


def baseline_of(op: str) -> str:
    """The implementation that others are compared with; for an unknown op, the name that all shipped ops use."""
    return OPS[op].baseline if op in OPS else "torch"
