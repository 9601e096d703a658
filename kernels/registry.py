"""The list of operations. Adding one to the suite is one line here; `register` adds other people's, which microbench_api.py calls."""

from __future__ import annotations

import json
import math
import re
import sys
from functools import partial
from importlib import import_module
from typing import Any

from kernels.op import Code, Impl, Language, Op, OpError, Point, code_name
from kernels.parts import VECTOR_PRECISION
from kernels.precisions import PRECISIONS
from kernels.strict_yaml.problems import valid_names

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


NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")  # of what is registered: it stands in ids, and pytest selects by it
OF_PYTEST = {
    "benchmark",
    "filterwarnings",
    "parametrize",
    "skip",
    "skipif",
    "usefixtures",
    "xfail",
}  # its marks, which have their own meaning


class RegistrationError(ValueError):
    """An op or implementation that cannot be registered. The message says why, and what to do."""


def register(op: Op | str, impl: Impl | None = None) -> None:
    """Adds an op, or an implementation to the op of that name. Raises RegistrationError."""
    if isinstance(op, Op):
        _check_name(op.name, "an op")
        if op.name in OPS:
            raise RegistrationError(f"there already is an op {op.name!r}{_origin(OPS[op.name].make_inputs)}: choose another name")
        for one in op.impls.values():
            _check_name(one.name, "an implementation")
        OPS[op.name] = op
        return
    if op not in OPS:
        raise RegistrationError(f"there is no op {op!r} to implement{valid_names(op, OPS)}")
    assert impl is not None
    _check_name(impl.name, "an implementation")
    if impl.name in OPS[op].impls:
        origin = _origin(OPS[op].impls[impl.name].build)
        raise RegistrationError(f"{op} already has an implementation {impl.name!r}{origin}: choose another name")
    OPS[op].impls[impl.name] = impl  # in place: the modules of an op hold the object


def _check_name(name: str, what: str) -> None:
    if not NAME.fullmatch(name):
        raise RegistrationError(f"{name!r} cannot name {what}: use a lower-case letter, then at most 39 lower-case letters, digits and _")
    if name in OF_PYTEST or name in PRECISIONS:
        raise RegistrationError(f"{name!r} cannot name {what}: it is a mark of pytest or a precision, by which points are selected")


def _origin(code: Code) -> str:
    """Where a name was registered, for a message."""
    module = code_name(code).partition(":")[0]
    return (
        " in this suite" if module.split(".")[0] == "kernels" else f", registered by {getattr(sys.modules.get(module), '__file__', module)}"
    )


def registered() -> tuple[dict[str, Op], dict[str, dict[str, Impl]]]:
    """All ops and implementations as they are now, for `restore`."""
    return dict(OPS), {name: dict(op.impls) for name, op in OPS.items()}


def restore(before: tuple[dict[str, Op], dict[str, dict[str, Impl]]]) -> None:
    """Takes out what was registered since."""
    ops, impls = before
    OPS.clear()
    OPS.update(ops)
    for name, found in impls.items():
        OPS[name].impls.clear()
        OPS[name].impls.update(found)


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


def is_shipped(impl: Impl) -> bool:
    """Whether an implementation is this repository's own, which lists what `inspect` compiles; what another one launches is recorded."""
    return code_name(impl.build).split(".")[0] == "kernels"


def baseline_of(op: str) -> str:
    """The implementation that others are compared with; for an unknown op, the name that all shipped ops use."""
    return OPS[op].baseline if op in OPS else "torch"
