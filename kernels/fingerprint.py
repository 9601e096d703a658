"""Hashes of the code that a point runs, so that a change of its time can be compared with a change of its code."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from kernels import closure as closures
from kernels.closure import closure
from kernels.op import Op, code_name

VERSION = "v2"  # of the hashing rules; increase it with every change of kernels/closure.py or syntax.py that changes a hash
SWITCHES = "kernels.torch_modes:set_precision_mode"  # called before every point, by whatever measures it
LENGTH = 16  # hexadecimal digits kept: 64 bits


def source_hash(op: Op, impl: str) -> str | None:
    """The hash ("v2:…") of the code that an implementation's behaviour depends on: its `build` and `allocates`, the op's `make_inputs`,
    what they call, the constants and defaults that they read, and PyTorch's switches; across modules, also outside this repository, but
    not in installed packages. Nothing else of the op counts: not its cost, its reference or its other implementations.

    Annotations, docstrings, comments and layout do not count; where a name cannot be resolved, its whole module counts. None where the
    code cannot be found.
    """
    one = op.impls[impl]
    roots = tuple(map(code_name, (one.build, op.make_inputs, one.allocates, SWITCHES)))
    if (op.name, roots) not in _hashes:
        _hashes[op.name, roots] = _hash(roots, op)
    return _hashes[op.name, roots]


_hashes: dict[tuple[str, tuple[str, ...]], str | None] = {}


def _hash(roots: tuple[str, ...], op: Op) -> str | None:
    try:
        return f"{VERSION}:{digest(closure(roots, op).encode())}"
    except (LookupError, OSError, RecursionError):  # a module without a file, or an expression nested too deeply to be walked
        return None


def forget() -> None:
    """Clears the caches. Otherwise a process reads each source once, as it imports each module once."""
    closures.forget()
    _hashes.clear()


def version(source_hash: str) -> str:
    """The version of the rules by which a source was hashed; empty for hashes made before rules had a version."""
    return source_hash.rpartition(":")[0]


def source_changed(before: str | None, after: str | None) -> bool | None:
    """Whether two hashes are of different sources; None where that is unknown: one is missing, or they follow different rules."""
    return before != after if before and after and version(before) == version(after) else None


def machine_code_hash(compiled: Sequence[Any]) -> str | None:
    """The hash of the cubins that Triton's launcher returned, in launch order; None where there are none, as in the interpreter.

    Triton writes line numbers into a cubin unless TRITON_DISABLE_LINE_INFO is set; then only the instructions count.
    """
    cubins = [one.asm["cubin"] for one in compiled if "cubin" in getattr(one, "asm", {})]
    return digest(b"".join(cubins)) if cubins else None


def digest(data: bytes) -> str:
    """The first LENGTH hexadecimal digits of SHA-256."""
    return hashlib.sha256(data).hexdigest()[:LENGTH]
