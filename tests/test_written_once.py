"""What must be written in one place is not written in another: names, default values, formats and lists."""

from __future__ import annotations

import ast
import re

import pytest

from benches.row import FAILED, TIMED
from kernels import interpreter
from kernels.gpus import DEFAULT_GPU
from kernels.guard import NAMES, ROOT
from tests.source_files import MAY_IMPORT, sources


def functions_called(name: str, code: str) -> list[int]:
    """Lines that define a function or method of this name."""
    functions = (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return sorted(function.lineno for function in functions if function.name == name)


@pytest.mark.slow
def test_one_function_is_called_measure() -> None:
    """`measure(…)` always means the function that turns a point into a row with its time."""
    files = [path for folder in NAMES for path in sources(folder)]
    assert [str(p.relative_to(ROOT)) for p in files for _ in functions_called("measure", p.read_text(encoding="utf-8"))] == [
        "benches/timing/measure.py"
    ]
    assert functions_called("measure", "class A:\n    def measure(self): ...\n\ndef measured(): ...\nasync def measure(): ...") == [2, 5]


def test_one_file_reads_and_sets_how_triton_runs() -> None:
    files = [path for folder in NAMES for path in sources(folder)] + [ROOT / "conftest.py"]
    assert [str(p.relative_to(ROOT)) for p in files if interpreter.VARIABLE in p.read_text(encoding="utf-8")] == ["kernels/interpreter.py"]


def test_the_default_gpu_is_named_once() -> None:
    """Configs, examples and studies of that board name it too; code that uses it as a default must not."""
    name = re.compile(rf"(?<![\w-]){DEFAULT_GPU}(?![\w-])")
    found = sorted(
        str(path.relative_to(ROOT))
        for folder in MAY_IMPORT
        for path in sources(folder)
        if DEFAULT_GPU in (code := path.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and name.search(node.value)
    )
    assert found == ["kernels/gpus.py"], "use DEFAULT_GPU of kernels/gpus.py"


def numbers_in_other_units(code: str) -> list[int]:
    """Lines whose f-strings scale a number by a power of ten, or format a change with its sign, which is the task of reports/units.py."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FormattedValue):
            own = node.value if isinstance(node.value, ast.BinOp) else ast.Constant(None)  # a function formats its arguments
            parts = [part for part in ast.walk(own) if isinstance(part, ast.BinOp)]
            scales = [side.value for part in parts for side in (part.left, part.right) if isinstance(side, ast.Constant)]
            scaled = any(isinstance(value, float) and value in {10.0**power for power in range(-12, 16, 3) if power} for value in scales)
            signed = node.format_spec is not None and "+.1%" in ast.unparse(node.format_spec)
            found += [node.lineno] * (scaled or signed)
    return found


@pytest.mark.slow
def test_reports_format_numbers_in_one_file() -> None:
    every = {str(p.relative_to(ROOT)): numbers_in_other_units(p.read_text(encoding="utf-8")) for p in sources("reports")}
    found = {path: lines for path, lines in every.items() if lines}
    assert list(found) == ["reports/units.py"], "show(value, unit) of reports/units.py, or a function beside it"


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ('f"{hertz / 1e6:.0f} MHz"', True),
        ('f"{row.flops / row.median_s / 1e12:.4g} TFLOP/s"', True),
        ('f"{ratio - 1:+.1%}"', True),
        ('f"{share:.0%} of {count / 2}"', False),
        ('f"{compact(seconds * 1e6)} µs"', False),
    ],
)
def test_the_rule_sees_numbers_in_other_units(code: str, wrong: bool) -> None:
    assert bool(numbers_in_other_units(code)) == wrong


def groups_of_statuses(code: str) -> list[int]:
    """Lines that list the statuses of benches.row.FAILED or TIMED themselves, in whatever order."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            words = {item.value for item in node.elts if isinstance(item, ast.Constant)}
            found += [node.lineno] * (words in (set(FAILED), set(TIMED)))
    return found


@pytest.mark.slow
def test_what_failed_and_what_was_timed_is_listed_once() -> None:
    files = [path for folder in MAY_IMPORT for path in sources(folder)]
    found = {str(p.relative_to(ROOT)): lines for p in files if (lines := groups_of_statuses(p.read_text(encoding="utf-8")))}
    assert list(found) == ["benches/row.py"], "import FAILED or TIMED from benches.row"
    assert groups_of_statuses('BROKEN = ("wrong", "impossible", "oom", "crashed", "timeout", "error")\nSOME = ("oom", "error")') == [1]
