"""Root of both test trees: `tests/` (is the suite right?) and `benches/` (how fast are the kernels?)."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parent
USAGE_ERROR = 4  # of pytest, for which 1 means that a test failed and 2 that it was interrupted
guard = runpy.run_path(str(ROOT / "kernels" / "guard.py"))  # by its path: `kernels` may be the very package that it is about
guard["check_imports"](code=USAGE_ERROR)

with guard["missing_package_in_a_line"](USAGE_ERROR):
    from benches.devices.nvml import has_gpu
    from kernels import interpreter

if not has_gpu():
    interpreter.interpret_unless_set()

pytest_plugins = ["benches.pytest_plugin.selection", "benches.pytest_plugin.hooks", "reports.pytest_plugin"]
