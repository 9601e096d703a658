"""The one-way street, the torch-free half, and the files that must agree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from kernels.guard import NAMES, ROOT, check_imports

MAY_IMPORT = {"kernels": {"kernels"}, "benches": {"kernels", "benches"}, "reports": {"kernels", "benches", "reports"}}
TORCH_FREE = (
    "kernels.registry",
    "kernels.cost_model",
    "kernels.gpus",
    "benches.row",
    "benches.journal",
    "benches.sweep",
    "benches.plan",
    "reports.build",
)


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


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_go_one_way(folder: str) -> None:
    wrong = {
        str(p.relative_to(ROOT)): bad for p in sources(folder) if (bad := imported(p) & {*NAMES, "tests", "conftest"} - MAY_IMPORT[folder])
    }
    assert wrong == {}
    assert sources(folder)


def test_kernels_know_nothing_of_timing_pytest_or_pandas() -> None:
    measured = [path for path in sources("kernels") if path.name != "inspect.py"]  # which says how long compiling took
    assert {str(p): bad for p in measured if (bad := imported(p) & {"pytest", "pandas", "time"})} == {}


def test_configs_hold_no_code() -> None:
    assert {p.suffix for p in (ROOT / "configs").rglob("*") if p.is_file()} <= {".yaml", ".csv"}


@pytest.mark.parametrize("module", TORCH_FREE)
def test_planning_and_reporting_need_neither_torch_nor_triton(module: str) -> None:
    code = f"import sys, {module}; sys.exit(bool({{'torch', 'triton'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_guard_names_an_intruder(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "__init__.py").write_text("")
    paths = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.path.append({str(ROOT)!r})"
    code = f"{paths}; from kernels.guard import check_imports; check_imports()"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: `reports` resolves to {tmp_path / 'reports' / '__init__.py'}, not to")
    check_imports()


@pytest.mark.parametrize("folder", NAMES)
def test_entry_points_are_guarded(folder: str) -> None:
    main = ROOT / folder / "__main__.py"
    assert "check_imports()" in main.read_text(encoding="utf-8")


def names(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in requirements}  # type: ignore[index]


def test_requirements_pyproject_and_constraints_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = names(project["dependencies"] + project["optional-dependencies"]["dev"])
    lines = [line for line in (ROOT / "requirements-dev.txt").read_text().splitlines() if line and not line.startswith("#")]
    pinned = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert names(lines) == declared
    assert declared <= names(pinned)
    assert all("==" in line for line in pinned)


def test_every_runtime_dependency_is_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module = {
        "pytest-benchmark": "pytest_benchmark",
        "pyyaml": "yaml",
        "nvidia-ml-py": "pynvml",
        "pyarrow": "pandas",
    }  # pandas reads Parquet by it
    everything = set().union(*(imported(p) for folder in NAMES for p in sources(folder)))
    unused = {name for name in names(project["dependencies"]) if module.get(name, name.replace("-", "_")) not in everything}
    assert unused <= {"pytest-benchmark"}  # used through its fixture
