"""Which file may import which, what needs no torch, and what source files may not contain."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from kernels.guard import NAMES, ROOT, check_imports
from tests.source_files import MAY_IMPORT, imported, modules_of, sources

TORCH_FREE = (
    "kernels.registry",
    "kernels.cost_model",
    "kernels.gpus",
    "benches.row",
    "benches.run.journal",
    "benches.sweep.load",
    "benches.correctness",
    "benches.run.isolation",
    "benches.plan",
    "reports.build",
)


@pytest.mark.slow
@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_go_one_way(folder: str) -> None:
    wrong = {
        str(p.relative_to(ROOT)): bad for p in sources(folder) if (bad := imported(p) & {*NAMES, "tests", "conftest"} - MAY_IMPORT[folder])
    }
    assert wrong == {}
    assert sources(folder)


@pytest.mark.slow
def test_kernels_know_nothing_of_timing_pytest_or_pandas() -> None:
    measured = [path for path in sources("kernels") if path.name != "ahead_of_time.py"]  # which says how long compiling took
    assert {str(p): bad for p in measured if (bad := imported(p) & {"pytest", "pandas", "time"})} == {}


def texts() -> list[Path]:
    """Returns the files with text: code, configs, docs and the files of the root; not this file, which names what is forbidden."""
    folders = (*NAMES, "configs", "docs", "studies", "tests")
    found = [path for name in folders for path in (ROOT / name).rglob("*") if path.suffix in (".py", ".yaml", ".md")]
    root = [path for path in ROOT.iterdir() if path.suffix in (".py", ".md", ".toml", ".txt") or path.name == "Makefile"]
    return sorted({*found, *root} - {Path(__file__).resolve()})


OUTSIDE = re.compile(r"\bDESIGN\b|\bMEASURING\b|\bROOMS\.md|\bshared/|(?<![\w.])/work/")


def test_nothing_refers_to_a_file_outside_the_repository() -> None:
    """A reader who has only the repository can read everything that it refers to."""
    found = [
        f"{path.relative_to(ROOT)}:{number} refers to a file outside the repository: describe in docs/ what is needed, and refer to that"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if OUTSIDE.search(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("line", "outside"),
    [
        ("sources: the name NVML reports (DESIGN §4)", True),
        ("described in DESIGN.md", True),
        ("read ../shared/h100", True),
        ("see /work/notes.md", True),
        ("a DESIGNED experiment", False),
        ("bytes of shared memory", False),
        ("https://example.org/work/paper", False),
    ],
)
def test_the_rule_sees_a_reference_outside(line: str, outside: bool) -> None:
    assert bool(OUTSIDE.search(line)) == outside


def test_configs_hold_no_code() -> None:
    assert {p.suffix for p in (ROOT / "configs").rglob("*") if p.is_file()} <= {".yaml", ".csv"}


@pytest.mark.slow
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
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: `reports` resolves to {tmp_path / 'reports' / '__init__.py'}, not to")
    check_imports()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["benches doctor", "kernels precisions", "reports napkin"])
def test_a_command_on_a_bare_machine_says_what_to_install(command: str) -> None:
    """Without site-packages: the first package that is imported is named."""
    done = subprocess.run([sys.executable, "-S", "-m", *command.split()], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 2
    assert re.fullmatch(r"error: \w+ is not installed: pip install -r requirements.txt\n", done.stderr)


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_entry_points_are_guarded(folder: str) -> None:
    main = ROOT / folder / "__main__.py"
    assert "check_imports()" in main.read_text(encoding="utf-8")


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
    """Whether the call opens a file in binary mode."""
    modes = [value.value for value in (*node.args, *(k.value for k in node.keywords)) if isinstance(value, ast.Constant)]
    return any(isinstance(mode, str) and re.fullmatch(r"[rwax]\+?b\+?", mode) for mode in modes)


@pytest.mark.slow
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


# benches/ from the top down. Each floor imports only floors below it; what shares a floor does not import each other.
# A file or folder that no floor names is a command ("*"): only the top may import it.
FLOORS = (
    ("pytest_plugin", "__main__", "test_*"),
    ("*",),
    ("fleet",),
    ("first_contact", "shards"),
    ("doctor", "train", "plan"),
    ("run",),
    ("timing",),
    ("devices", "sweep"),
    ("row", "correctness", "units"),
)
NAMED = [(floor, pattern) for floor, patterns in enumerate(FLOORS) for pattern in patterns if pattern != "*"]


def floor_of(room: str) -> int:
    """Counted from the top."""
    return next((floor for floor, pattern in NAMED if fnmatchcase(room, pattern)), FLOORS.index(("*",)))


def upward(path: str, code: str) -> list[str]:
    """The imports of a file in benches/ that the floors do not allow, one line each."""
    own = path.split("/")[1].removesuffix(".py")
    found = []
    for line, module in modules_of(code):
        package, _, rest = module.partition(".")
        other = rest.partition(".")[0]
        if package != "benches" or not other or other == own or floor_of(other) > floor_of(own):
            continue
        beside = floor_of(other) == floor_of(own)
        if beside and own in FLOORS[0]:
            continue  # pytest's hooks and the commands' front door are one floor's two doors
        where = "beside" if beside else "above"
        rule = "a floor imports only floors below it (FLOORS in tests/test_structure.py)"
        found.append(
            f"{path}:{line} imports {module}, but benches/{other} is {where} benches/{own}: {rule}. Move what both need further down"
        )
    return found


@pytest.mark.slow
def test_each_floor_of_benches_imports_only_floors_below_it() -> None:
    wrong = [line for path in sources("benches") for line in upward(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("path", "code", "says"),
    [
        ("benches/devices/nvml.py", "from benches.timing.throttle import POWER_CAP", "benches/timing is above benches/devices"),
        (
            "benches/devices/cpu.py",
            "def f():\n    from benches.sweep.load import load_sweep",
            ":2 imports benches.sweep.load.load_sweep, but",
        ),
        ("benches/row.py", "import benches.devices.base", "benches/devices is above benches/row"),
        ("benches/train/summary_text.py", "from benches import plan", "benches/plan is beside benches/train"),
        ("benches/run/run.py", "from benches.new_command import x", "benches/new_command is above benches/run"),
    ],
)
def test_the_floors_see(path: str, code: str, says: str) -> None:
    (line,) = upward(path, code)
    assert says in line


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("benches/devices/cpu.py", "from benches.devices.busy import OtherWork; from benches.correctness import Verdict"),
        ("benches/timing/measure.py", "from benches.devices.base import Device; from benches.timing import physics; import kernels.op"),
        ("benches/new_command.py", "from benches.plan import make_plan; from benches.run.run import Run"),
        ("benches/__main__.py", "from benches.new_command import main; from benches.plan import show"),
    ],
)
def test_the_floors_let_pass(path: str, code: str) -> None:
    assert upward(path, code) == []


# By subpackage of reports/: the others that it may import besides reports/page and the files of reports/ itself, which all may.
ROOMS: dict[str, set[str]] = {
    "calibrate": set(),
    "compare": {"verdict"},
    "history": set(),
    "napkin": set(),
    "nightly": {"compare", "history", "survey", "verdict"},
    "page": set(),
    "reference": {"napkin", "survey", "verdict"},
    "sections": set(),
    "survey": {"history", "verdict"},
    "validation": {"calibrate"},
    "verdict": set(),
}
FRONT = {"__main__", "build", "picture", "pytest_plugin"}  # files that combine subpackages


def into_another_room(path: str, code: str) -> list[str]:
    """The imports of a file in reports/ that ROOMS does not allow, one line each. A file of reports/ itself imports no room."""
    own = path.split("/")[1].removesuffix(".py")
    allowed = set(ROOMS) if own in FRONT else {own, "page"} | ROOMS.get(own, set())
    found = []
    for line, module in modules_of(code):
        package, _, rest = module.partition(".")
        other = rest.partition(".")[0]
        if package == "reports" and other in ROOMS and other not in allowed:
            found.append(
                f"{path}:{line} imports {module}: reports/{own} may not import reports/{other} (ROOMS in tests/test_structure.py). "
                "Move what both need to a file of reports/ itself"
            )
    return found


@pytest.mark.slow
def test_each_room_of_reports_imports_only_those_that_it_may() -> None:
    files = sources("reports")
    wrong = [line for path in files for line in into_another_room(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))]
    assert not wrong, "\n".join(wrong)
    assert {path.parent.name for path in files} - {"reports"} == set(ROOMS), "name the room in ROOMS of tests/test_structure.py"


@pytest.mark.parametrize(
    ("path", "code", "sees"),
    [
        ("reports/compare/words.py", "from reports.sections.summary import Remark", True),
        ("reports/verdict/thresholds.py", "def f():\n    from reports.napkin.reader import number", True),
        ("reports/pick.py", "import reports.sections.versus", True),
        ("reports/compare/noise.py", "from reports.verdict.robust import prior; from reports.section import Section", False),
        ("reports/sections/h100.py", "from reports.pick import CASE; from reports.page import render", False),
        ("reports/build.py", "from reports.sections import SECTIONS", False),
    ],
)
def test_the_rooms_see(path: str, code: str, sees: bool) -> None:
    assert bool(into_another_room(path, code)) == sees


@pytest.mark.slow
def test_a_page_imports_no_statistics() -> None:
    """scipy takes a second to import, which a node that only measures and writes its page need not wait for."""
    code = "import sys, reports.build; sys.exit(bool({'scipy', 'ruptures', 'duckdb'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.slow
def test_no_kernel_depends_on_napkin_math() -> None:
    """kernels/napkin answers questions about clusters; what it shares with kernels lies where both may import it."""
    kernels = [path for path in sources("kernels") if path.parent.name != "napkin"]
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in kernels
        for line, module in modules_of(path.read_text(encoding="utf-8"))
        if module.startswith("kernels.napkin")
    ]
    assert not found, "\n".join(found)


def test_the_root_holds_no_hooks_and_a_node_that_only_measures_needs_no_pandas() -> None:
    """The plug-in of reports/ makes the page, and imports what it needs for that when a session has ended."""
    root = ast.parse((ROOT / "conftest.py").read_text(encoding="utf-8"))
    assert [node.name for node in ast.walk(root) if isinstance(node, ast.FunctionDef)] == []
    plugin = ast.parse((ROOT / "reports" / "pytest_plugin.py").read_text(encoding="utf-8"))
    at_start = ast.unparse(ast.Module([node for node in plugin.body if isinstance(node, ast.Import | ast.ImportFrom)], []))
    needed = {module.partition(".")[0] for _, module in modules_of(at_start)} - set(sys.stdlib_module_names)
    assert needed == {"pytest", "benches", "kernels"}


@pytest.mark.slow
def test_nothing_but_tests_imports_studies() -> None:
    files = [path for folder in MAY_IMPORT for path in sources(folder)] + [ROOT / "conftest.py"]
    wrong = [
        f"{path.relative_to(ROOT)} imports studies: move what it needs out of the study" for path in files if "studies" in imported(path)
    ]
    assert not wrong, "\n".join(wrong)
    assert sources("studies")
