"""Other people's files: what registers, under which name and hash, and one line for each mistake."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest

from kernels import imports
from kernels.fingerprint import forget, source_hash
from kernels.guard import ROOT
from kernels.imports import ImportProblem, load_imports, specs
from kernels.op import Inputs
from kernels.registry import OPS, language_of, registered, restore
from kernels.support import Platform

H100 = Platform("cuda", (9, 0))
MINE = """
from microbench_api import implementation

@implementation("matmul", name="mine", precisions=["bf16", "fp16"], options={"layout": ["nn"]})
def build(point, inputs):
    return lambda: inputs.out.fill_(1)
"""


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts the registry, the search path and the modules back."""
    before, modules = registered(), set(sys.modules)
    monkeypatch.setattr(imports, "_loaded", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    restore(before)
    for name in set(sys.modules) - modules:
        if name.startswith(imports.PACKAGE) or name == "beside_it":
            del sys.modules[name]
    forget()


def written(path: Path, text: str) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_an_implementation_inherits_the_op(tmp_path: Path) -> None:
    (found,) = load_imports([written(tmp_path / "my-kernel.py", MINE)])
    assert found.module == "microbench_import.my_kernel"
    assert callable(resolve_name("microbench_import.my_kernel:build"))
    impl = OPS["matmul"].impls["mine"]
    point = OPS["matmul"].point("mine", "bf16", {"m": 127, "n": 129, "k": 61})
    assert pickle.loads(pickle.dumps(point)).id == "matmul-mine-bf16-127x129x61"
    assert impl.unsupported(point, H100) is None
    assert impl.unsupported(OPS["matmul"].point("mine", "fp32", point.dims), H100) == "mine takes bf16, fp16"
    transposed = OPS["matmul"].point("mine", "bf16", point.dims, {"layout": "nt"})
    assert impl.unsupported(transposed, H100) == "mine takes layout nn"
    inputs: Inputs = OPS["matmul"].load("make_inputs")(point, "cpu", 1)
    assert impl.load()(point, inputs).run() is inputs.out
    assert (language_of("matmul", "mine"), OPS["matmul"].baseline) == ("torch", "torch")


def test_loading_twice_is_loading_once(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.py", MINE)
    first = load_imports([path])
    assert load_imports([os.path.relpath(path), path]) == first


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("x = 1", 1, "it registers nothing: decorate a function with `implementation` or `op` of microbench_api"),
        ("x = (", 1, "SyntaxError: '(' was never closed; correct it, then import it again"),
        ("\nimport not_there_at_all", 2, "there is no module 'not_there_at_all': install it, or put it beside the file"),
        ("def f():\n    raise ValueError('why\\nnot')\nf()", 2, "ValueError: why; it was raised while importing: correct it, then import"),
        (MINE.replace('"mine"', '"torch"'), 4, "matmul already has an implementation 'torch' in this suite: choose another name"),
        (MINE.replace('"matmul"', '"matmull"'), 4, "there is no op 'matmull' to implement (did you mean matmul?)"),
        (MINE.replace('"mine"', '"Mine-2"'), 4, "'Mine-2' cannot name an implementation: use a lower-case letter"),
        (MINE.replace('"mine"', '"skip"'), 4, "'skip' cannot name an implementation: it is a mark of pytest or a precision"),
        (MINE.replace('"fp16"', '"fp61"'), 4, "precisions: 'fp61' is not known; valid: fp32, tf32"),
        (MINE.replace('"layout"', '"lay"'), 4, "options: 'lay' is not known; valid: layout"),
        (MINE.replace('["nn"]', '["nm"]'), 4, "options layout: 'nm' is not known; valid: nn"),
        (MINE + MINE, 10, "matmul already has an implementation 'mine', registered by"),
        ("raise SystemExit(3)", 1, "SystemExit: 3"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(text: str, line: int, says: str, tmp_path: Path) -> None:
    before, path = registered(), written(tmp_path / "mine.py", text)
    with pytest.raises(ImportProblem) as problem:
        load_imports([path])
    assert str(problem.value).startswith(f"{path}:{line}: {says}")
    assert "\n" not in str(problem.value)
    assert registered() == before
    assert "microbench_import.mine" not in sys.modules


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("nowhere/mine.py", "nowhere/mine.py:1: there is no such file to import"),
        ("no_such_module", "no_such_module:1: there is no module 'no_such_module'"),
        ("json", "json:1: it registers nothing"),
    ],
)
def test_what_cannot_be_found(spec: str, says: str) -> None:
    with pytest.raises(ImportProblem, match=f"^{re.escape(says)}"):
        load_imports([spec])


def test_two_files_of_one_name(tmp_path: Path) -> None:
    first = written(tmp_path / "mine.py", MINE)
    load_imports([first])
    with pytest.raises(ImportProblem, match=f"{re.escape(first)} is imported under the same name, microbench_import.mine: rename one"):
        load_imports([written(tmp_path / "other" / "mine.py", MINE)])


def test_hashes_follow_the_code_and_what_lies_beside_it(tmp_path: Path) -> None:
    path, beside = tmp_path / "mine.py", tmp_path / "beside_it.py"
    text = "import beside_it\n" + MINE.replace("fill_(1)", "fill_(beside_it.VALUE)")

    def hashes() -> tuple[str, str | None]:
        for name in ("beside_it", "microbench_import.mine"):
            sys.modules.pop(name, None)
        imports._loaded.clear()
        OPS["matmul"].impls.pop("mine", None)
        (found,) = load_imports([str(path)])
        return found.sha256, source_hash(OPS["matmul"], "mine")

    written(beside, "VALUE = 1\n")
    written(path, text)
    first = hashes()
    assert first[1] is not None
    written(path, text + "# a comment\n")
    commented = hashes()
    assert (commented[0] != first[0], commented[1]) == (True, first[1])
    written(beside, "VALUE = 2  # longer, so that no cached bytecode fits\n")
    changed = hashes()
    assert changed[0] != commented[0]
    assert changed[1] != commented[1]


def test_a_file_beside_it_hides_nothing_installed(tmp_path: Path) -> None:
    written(tmp_path / "json.py", "raise RuntimeError('hidden')\n")
    load_imports([written(tmp_path / "mine.py", "import json\n" + MINE)])
    assert "mine" in OPS["matmul"].impls


def test_specs_of_the_environment_come_first_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(imports.VARIABLE, os.pathsep.join(["a.py", "b", ""]))
    assert specs(["c.py", "a.py"]) == ("a.py", "b", "c.py")
    monkeypatch.delenv(imports.VARIABLE)
    assert specs(None) == ()


@pytest.mark.slow
def test_an_implementation_is_registered_without_torch(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.py", MINE)
    code = f"import sys; from kernels.imports import load_imports; load_imports([{path!r}]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
