"""Hashes of the code that a point runs, so that a change of its time can be held against a change of its code."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from kernels.guard import ROOT
from kernels.op import Op

PACKAGE = "kernels"
LENGTH = 16  # hexadecimal digits kept: 64 bits


def source_hash(op: Op, impl: str) -> str:
    """Of what an implementation and its operands are made by: their modules and all that these import from kernels/.

    Comments, docstrings and layout do not count.
    """
    return _hash_of_modules(frozenset(name.split(":")[0] for name in (op.impls[impl].build, op.make_inputs)))


@lru_cache
def _hash_of_modules(names: frozenset[str]) -> str:
    found: dict[str, str] = {}
    waiting = sorted(names)
    while waiting:
        name = waiting.pop()
        path = _path(name)
        if name in found or path is None:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        waiting += _imported(tree)
        found[name] = _code(tree)
    return digest("\n".join(f"{name} {code}" for name, code in sorted(found.items())).encode())


def _path(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _imported(tree: ast.Module) -> Iterator[str]:
    """Modules of this package that a file names; `from kernels import x` may name a module or something in one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE)


def _code(tree: ast.Module) -> str:
    """The tree without docstrings and line numbers."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            del body[0]
    return ast.dump(tree)


def machine_code_hash(compiled: Sequence[Any]) -> str | None:
    """Of the cubins that Triton's launcher gave back, in the order of their launches; None where there are none: in the interpreter.

    Triton writes line numbers into a cubin unless TRITON_DISABLE_LINE_INFO is set; then only the instructions count.
    """
    cubins = [one.asm["cubin"] for one in compiled if "cubin" in getattr(one, "asm", {})]
    return digest(b"".join(cubins)) if cubins else None


def digest(data: bytes) -> str:
    """The first LENGTH hexadecimal digits of SHA-256."""
    return hashlib.sha256(data).hexdigest()[:LENGTH]
