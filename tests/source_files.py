"""The suite's own source files, as the tests of its structure read them."""

from __future__ import annotations

import ast
from pathlib import Path

from kernels.guard import ROOT

MAY_IMPORT = {"kernels": {"kernels"}, "benches": {"kernels", "benches"}, "reports": {"kernels", "benches", "reports"}}


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names
