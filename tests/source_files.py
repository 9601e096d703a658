"""The suite's own source files, as the tests of its structure read them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from kernels.guard import ROOT

MAY_IMPORT = {"kernels": {"kernels"}, "benches": {"kernels", "benches"}, "reports": {"kernels", "benches", "reports"}}


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@cache  # by the text, since one test after another asks of the same files
def modules_of(code: str) -> tuple[tuple[int, str], ...]:
    """Line and full name of every module that code imports; of `from a import b` both a.b, which may be a module, and its place in a."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found += ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
    return tuple(found)


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports, anywhere in it."""
    return {module.partition(".")[0] for _, module in modules_of(path.read_text(encoding="utf-8"))}
