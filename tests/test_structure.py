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
    (tmp_path / "reports" / "__init__.py").write_text("", encoding="utf-8")
    paths = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.path.append({str(ROOT)!r})"
    code = f"{paths}; from kernels.guard import check_imports; check_imports()"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
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
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = names(project["dependencies"] + project["optional-dependencies"]["dev"])
    lines = [line for line in (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    pinned = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert names(lines) == declared
    assert declared <= names(pinned)
    assert all("==" in line for line in pinned)


def test_every_runtime_dependency_is_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module = {
        "pytest-benchmark": "pytest_benchmark",
        "pyyaml": "yaml",
        "nvidia-ml-py": "pynvml",
        "pyarrow": "pandas",
    }  # pandas reads Parquet by it
    everything = set().union(*(imported(p) for folder in NAMES for p in sources(folder)))
    unused = {name for name in names(project["dependencies"]) if module.get(name, name.replace("-", "_")) not in everything}
    assert unused <= {"pytest-benchmark"}  # used through its fixture


TEXT_FILES = {"read_text": 0, "write_text": 1, "open": 1}  # and how many arguments stand before `encoding` at most
CHILDREN = {"run", "Popen", "check_output"}


def without_encoding(tree: ast.AST) -> list[int]:
    """Lines that read or write a text file, or a child's output as text, in whatever encoding the machine's locale has."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
        given = {keyword.arg for keyword in node.keywords}
        if name in TEXT_FILES and not is_binary(node) and "encoding" not in given and len(node.args) <= TEXT_FILES[name]:
            found.append(node.lineno)
        if name in CHILDREN and given & {"text", "universal_newlines"}:
            found.append(node.lineno)
    return found


def is_binary(node: ast.Call) -> bool:
    """An `open` of bytes, or one that is no file's: os.open."""
    modes = [value.value for value in (*node.args, *(k.value for k in node.keywords)) if isinstance(value, ast.Constant)]
    return any(isinstance(mode, str) and re.fullmatch(r"[rwax]\+?b\+?", mode) for mode in modes)


@pytest.mark.parametrize("folder", NAMES)
def test_text_has_one_encoding_on_every_machine(folder: str) -> None:
    found = {str(path.relative_to(ROOT)): without_encoding(ast.parse(path.read_text(encoding="utf-8"))) for path in sources(folder)}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("path.read_text()", True),
        ('path.read_text("utf-8")', False),
        ("path.write_text(text)", True),
        ('path.write_text(text, encoding="utf-8")', False),
        ("open(path)", True),
        ('path.open("a")', True),
        ('path.open("rb")', False),
        ('open(path, "w", encoding="utf-8")', False),
        ("subprocess.run(command, text=True)", True),
        ('subprocess.run(command, encoding="utf-8")', False),
    ],
)
def test_the_rule_sees_text_without_an_encoding(code: str, wrong: bool) -> None:
    assert bool(without_encoding(ast.parse(code))) == wrong
