"""A change of the code that a kernel depends on changes its hash, and no other change does."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from kernels import closure, fingerprint
from kernels.fingerprint import digest, source_changed, source_hash
from kernels.op import Impl, Op, Point
from kernels.registry import OPS

# A user's package: `build` and `inputs` are a point's code; some of the rest is reached from them.
OWN = {
    "own/__init__.py": "",
    "own/kernel.py": '''
"""What this module does."""
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import triton
import triton.language as tl
from pydantic import BaseModel

from own import numbers, tables
from own.helpers import scale as scaled
from own.deep import Leaf

if TYPE_CHECKING:
    from own.types import Shape

WARPS = 4
UNUSED = 1
KINDS = {"a": 1}

@triton.jit
def body(x: tl.tensor, n: tl.tensor, BLOCK: tl.constexpr) -> None:
    """Adds one."""
    # a comment
    i = tl.arange(0, BLOCK)
    tl.store(x + i, tl.load(x + i, mask=i < n) + 1, mask=i < n)

@dataclass(frozen=True)
class Config:
    warps: int = WARPS
    stages: int = field(default=3)
    shared: ClassVar[int] = 0

class Settings(BaseModel):
    size: int = 1

def build(point: Shape, inputs: tuple[int, ...] = (), factor: int = 2):
    """Builds."""
    from own.lazy import late
    size: int = 1
    local = [size for size in inputs]
    return body, Config(), Settings(), scaled(factor) + numbers.LIMIT + late() + Leaf().value + KINDS["a"] + len(local)

def unrelated(x: int) -> int:
    return x + WARPS

def inputs(point, device, seed):
    return tables.TABLE

if __name__ == "__main__":
    print(build(None))
''',
    "own/numbers.py": "LIMIT = 10\nOTHER = 11\n",
    "own/helpers.py": (
        "def scale(x: int) -> int:\n    return inner(x) * 2\n\ndef inner(x):\n    return x + 1\n\ndef other(x):\n    return x\n"
    ),
    "own/tables.py": (
        "TABLE = {}\n\ndef register(name):\n    def add(f):\n        TABLE[name] = f\n        return f\n    return add\n\n"
        "@register('a')\ndef first(x):\n    return x\n\nTABLE['b'] = 2\n\nOTHERS = {}\nOTHERS['c'] = 3\n"
    ),
    "own/deep.py": "from own.base import Base\n\nclass Leaf(Base):\n    value = 1\n",
    "own/base.py": "class Base:\n    def method(self):\n        return 1\n",
    "own/lazy.py": "def late():\n    return 1\n",
    "own/types.py": "class Shape:\n    pass\n",
    "own/unused.py": "X = 1\n",
}
KERNEL = "own/kernel.py"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    fingerprint.forget()
    yield
    fingerprint.forget()


def hash_of(files: dict[str, str], folder: Path, build: str = "own.kernel:build", make_inputs: str = "own.kernel:inputs") -> str | None:
    """The hash of an implementation whose code is in these files, in a folder on the path."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    importlib.invalidate_caches()
    fingerprint.forget()
    return source_hash(op_of(build, make_inputs), "own")


def op_of(build: str, make_inputs: str) -> Op:
    return replace(OPS["matmul"], name="own", make_inputs=make_inputs, impls={"own": Impl("own", build, lambda point, platform: None)})


def edited(files: dict[str, str], name: str, old: str, new: str) -> dict[str, str]:
    assert old in files[name], f"{old!r} is not in {name}"
    return {**files, name: files[name].replace(old, new)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


SAME = [
    (KERNEL, "# a comment", "# another\n    # and one more"),
    (KERNEL, "Adds one.", "Adds two."),
    (KERNEL, '    """Builds."""\n', ""),
    (KERNEL, "What this module does.", "Another docstring."),
    (KERNEL, "factor: int = 2", "factor: float = 2"),
    (KERNEL, "factor: int = 2", "factor=2"),
    (KERNEL, "size: int = 1\n    local", "size = 1\n    local"),
    (KERNEL, "point: Shape", "point"),
    (KERNEL, "point: Shape", "point: 'numbers.Other'"),
    (KERNEL, "x: tl.tensor, n", "x, n"),  # Triton ignores this annotation
    (KERNEL, "warps: int = WARPS", "warps: float = WARPS"),
    (KERNEL, "class Config:", 'class Config:\n    """Docs."""\n'),
    (KERNEL, "shared: ClassVar[int]", "shared: ClassVar[float]"),
    (KERNEL, "UNUSED = 1", "UNUSED = 2"),
    (KERNEL, "return x + WARPS", "return x - WARPS"),
    (KERNEL, "print(build(None))", "print(1)"),
    (KERNEL, "import os\n", "import sys\n"),
    (KERNEL, "KINDS = {", "KINDS: dict[str, int] = {"),
    (KERNEL, "WARPS = 4", "WARPS = (4)  # formatted otherwise"),
    (KERNEL, "[size for size in inputs]", "[\n        size\n        for size in inputs\n    ]"),
    (
        "own/helpers.py",
        "def inner(x):\n    return x + 1\n\ndef other(x):\n    return x\n",
        "def other(x):\n    return x\n\ndef inner(x):\n    return x + 1\n",
    ),
    ("own/helpers.py", "def scale(x: int) -> int", "def scale(x: float) -> float"),
    ("own/helpers.py", "def other(x):\n    return x", "def other(x):\n    return -x"),
    ("own/numbers.py", "OTHER = 11", "OTHER = 12"),
    ("own/tables.py", "OTHERS['c'] = 3", "OTHERS['c'] = 4"),  # fills what is never read
    ("own/types.py", "pass", "x = 1"),
    ("own/unused.py", "X = 1", "X = 2"),
]
OTHER = [
    (KERNEL, "mask=i < n) + 1", "mask=i < n) + 2"),
    (KERNEL, "BLOCK: tl.constexpr", "BLOCK"),  # which Triton reads
    (KERNEL, "factor: int = 2", "factor: int = 3"),
    (KERNEL, "WARPS = 4", "WARPS = 8"),
    (KERNEL, "warps: int = WARPS", "warps = WARPS"),  # no longer a field
    (KERNEL, "shared: ClassVar[int]", "shared: int"),
    (KERNEL, "size: int = 1\n\ndef", "size: float = 1\n\ndef"),  # which pydantic reads
    (KERNEL, 'KINDS = {"a": 1}', 'KINDS = {"a": 2}'),
    (KERNEL, 'KINDS = {"a": 1}', 'KINDS = {"a": 1}\nKINDS["a"] = 2'),
    (KERNEL, 'KINDS = {"a": 1}', 'KINDS = {"a": 1}\nKINDS.update(a=2)'),
    (KERNEL, 'KINDS = {"a": 1}', 'KINDS = {"a": 1}\ndef change():\n    global KINDS\n    KINDS = {}'),
    (KERNEL, "UNUSED = 1", "os.environ['X'] = '1'"),  # whatever that changes
    (KERNEL, "import triton.language as tl", "import triton.experimental.gluon.language as tl"),
    (KERNEL, "import scale as scaled", "import other as scaled"),
    (KERNEL, "return tables.TABLE", "return dict(tables.TABLE)"),
    ("own/numbers.py", "LIMIT = 10", "LIMIT = 12"),
    ("own/helpers.py", "return inner(x) * 2", "return inner(x) * 3"),
    ("own/helpers.py", "return x + 1", "return x + 2"),  # which `scale` calls
    ("own/helpers.py", "def inner(x):", "@staticmethod\ndef inner(x):"),
    ("own/tables.py", "def first(x):\n    return x", "def first(x):\n    return -x"),  # a decorator puts it into the table
    ("own/tables.py", "TABLE['b'] = 2", "TABLE['b'] = 3"),
    ("own/deep.py", "value = 1", "value = 2"),
    ("own/base.py", "return 1", "return 2"),
    ("own/lazy.py", "return 1", "return 2"),
    ("own/__init__.py", "", "import sys\nsys.setrecursionlimit(100)\n"),  # what importing it does
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "old", "new", "flips"),
    [*((*case, False) for case in SAME), *((*case, True) for case in OTHER)],
    ids=lambda value: None if isinstance(value, str) else "flips" if value else "same",
)
def test_an_edit_counts_where_the_kernel_depends_on_it(name: str, old: str, new: str, flips: bool, folder: Path) -> None:
    before = hash_of(OWN, folder)
    assert before is not None
    assert (hash_of(edited(OWN, name, old, new), folder) != before) == flips


RULES = {"v2": "f94aec5526f57032"}


def test_other_rules_are_another_version(folder: Path) -> None:
    """The hash of OWN by these rules, in every version of Python. If this fails, change `VERSION`, so that hashes by the old rules are not
    compared with new ones."""
    hash_of(OWN, folder)
    assert {fingerprint.VERSION: digest(closure.closure(["own.kernel:build", "own.kernel:inputs"]).encode())} == RULES


# Whether a change of far.Y counts. Where the text alone does not resolve a name, all of far.py counts.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "counts"),
    [
        ({"k.py": "import far\ndef build(): return far.X"}, False),
        ({"k.py": "import far\ndef build(name): return getattr(far, name)"}, True),
        ({"k.py": "import far\ndef build(): return [far]"}, True),
        ({"k.py": "import far\ndef build(): return far.made_at_run_time"}, True),
        ({"k.py": "from importlib import import_module\ndef build(): return import_module('far').X"}, True),
        ({"k.py": "try:\n    import far\nexcept ImportError:\n    far = None\ndef build(): return far.X"}, True),
        ({"k.py": "from far import *\ndef build(): return X"}, False),
        ({"k.py": "from far import *\ndef build(): return Y"}, True),
        ({"k.py": "from far import *\ndef build(): return unknown"}, False),  # all of k.py, which reads nothing of it
        ({"k.py": "import far\ndef build(): return unknown\ndef f(): return far.Y"}, True),
        ({"k.py": "import far\ndef build(name): return globals()[name]\ndef f(): return far.Y"}, True),
        ({"k.py": "import far\ndef build(): return eval('f()')\ndef f(): return far.Y"}, True),
        ({"k.py": "import far\ndef build(eval): return eval('f()')\ndef f(): return far.Y"}, False),
        ({"k.py": "NAMES = ['far:Y']\ndef build(): return NAMES"}, True),
        ({"k.py": "NAMES = ['far:X']\ndef build(): return NAMES"}, False),
        ({"k.py": "class K:\n    Y = 1\n    def f(self): return Y\n    Z = Y\nfrom far import Y\ndef build(): return K"}, True),
        ({"k.py": "class K:\n    Y = 1\n    Z = Y\nfrom far import Y\ndef build(): return K"}, False),
        ({"k.py": "from far import Y\ndef build(Y): return Y"}, False),
        ({"k.py": "from far import Y\ndef build(): return lambda Y: Y"}, False),
        ({"k.py": "from far import Y\ndef build(x=lambda: Y): return x"}, True),
        ({"k.py": "from far import Y\ndef build(x): return [Y for Y in x]"}, False),
        ({"k.py": "from far import Y\ndef build(x):\n    def f(): return Y\n    return f"}, True),
        ({"k.py": "from far import Y\ndef build(x):\n    match x:\n        case {'a': Y}: return Y"}, False),
        ({"k.py": "from p.sub import g as build", "p/__init__.py": "", "p/sub.py": "from ..k import x\ndef g(): return 1"}, False),
        (
            {
                "k.py": "from p import build",
                "p/__init__.py": "from .sub import build",
                "p/sub.py": "from far import Y\ndef build(): return Y",
            },
            True,
        ),
        (
            {"k.py": "import p.sub\ndef build(): return p.sub.f()", "p/sub.py": "from far import Y\ndef f(): return Y"},
            True,
        ),  # no __init__.py
        (
            {"k.py": "import far\nclass B:\n  def __init_subclass__(cls): B.a = cls\nclass C(B): y = far.Y\ndef build(): return B"},
            True,
        ),
        ({"k.py": "import far\nclass B: pass\nclass C(B):\n    y = far.Y\ndef build(): return B"}, False),
        (
            {
                "k.py": "import reg\nreg.add(1)\ndef build(): return reg.ALL",
                "reg.py": "import far\nALL = []\ndef add(x): ALL.append((x, far.Y))",
            },
            True,
        ),
        (
            {"k.py": "import reg\nreg.add(1)\ndef build(): return 1", "reg.py": "import far\nALL = []\ndef add(x): ALL.append((x, far.Y))"},
            False,
        ),
    ],
)
def test_names_are_resolved_or_take_in_their_module(files: dict[str, str], counts: bool, folder: Path) -> None:
    far = {"far.py": "X = 1\nY = 2\n"}
    before = hash_of({**files, **far}, folder, "k:build", "k:build")
    assert before is not None
    assert (hash_of(edited({**files, **far}, "far.py", "Y = 2", "Y = 3"), folder, "k:build", "k:build") != before) == counts
    assert hash_of({**files, **far}, folder, "k:build", "k:build") == before


def test_a_move_to_another_module_is_not_a_change(folder: Path) -> None:
    before = hash_of({"k.py": "from a import f\ndef build(): return f()\n", "a.py": "def f(): return 1\n"}, folder, "k:build", "k:build")
    assert (
        hash_of(
            {"k.py": "from b import f\ndef build(): return f()\n", "b.py": "'''Moved.'''\ndef f(): return 1\n"},
            folder,
            "k:build",
            "k:build",
        )
        == before
    )


def test_values_that_change_places_are_a_change(folder: Path) -> None:
    text = "from a import X\nfrom b import X as Y\ndef build(): return X - Y\n"
    before = hash_of({"k.py": text, "a.py": "X = 1\n", "b.py": "X = 2\n"}, folder, "k:build", "k:build")
    assert hash_of({"k.py": text, "a.py": "X = 2\n", "b.py": "X = 1\n"}, folder, "k:build", "k:build") != before


@pytest.mark.parametrize("site", ["lib/site-packages", "target"])
def test_installed_packages_count_by_name_only(site: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those in a separate folder (pip install --target): environment.json records their versions."""
    monkeypatch.syspath_prepend(folder / site)
    files = {"k.py": "import installed\ndef build(): return installed.X", f"{site}/installed/__init__.py": "X = 1"}
    files[f"{site}/installed-1.0.dist-info/METADATA"] = "Name: installed"
    before = hash_of(files, folder, "k:build", "k:build")
    assert hash_of(edited(files, f"{site}/installed/__init__.py", "X = 1", "X = 2"), folder, "k:build", "k:build") == before
    assert hash_of(edited(files, "k.py", "installed.X", "installed.Y"), folder, "k:build", "k:build") != before


def test_a_triton_built_from_source_is_an_installed_package_all_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("triton", "mine"):
        (folder / name).mkdir()
        path = folder / name / "__init__.py"
        path.write_text("", encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=[str(path.parent)])
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(__spec__=spec))
    assert closure.locate("triton") is None
    assert closure.locate("mine") == (folder / "mine" / "__init__.py", True)


@pytest.mark.parametrize("text", ["def build(:\n", "def build(): return '\x00'", "é = 1\n"])
def test_what_python_cannot_read_counts_by_its_bytes(text: str, folder: Path) -> None:
    (folder / "odd.py").write_bytes(text.encode("latin-1"))
    kernel = {"k.py": "import odd\ndef build(): return odd.x"}
    before = hash_of(kernel, folder, "k:build", "k:build")
    (folder / "odd.py").write_bytes(text.encode("latin-1") + b"#")
    assert None not in {before, hash_of(kernel, folder, "k:build", "k:build")}
    assert hash_of(kernel, folder, "k:build", "k:build") != before


@pytest.mark.parametrize("build", ["nowhere:build", "math:sqrt", "builtins:len", "numpy:dot"])
def test_installed_or_missing_code_has_no_hash(build: str) -> None:
    assert source_hash(op_of(build, "kernels.matmul.data:make_inputs"), "own") is None


def test_an_expression_too_deep_to_walk_loses_no_row(folder: Path) -> None:
    assert hash_of({"k.py": f"X = {'+'.join('1' * 900)}\ndef build(): return X"}, folder, "k:build", "k:build") is None


def allocates(point: Point, always: bool) -> bool:
    return always


@pytest.mark.slow
def test_whether_a_result_is_allocated_counts_however_that_is_given() -> None:
    op = OPS["matmul"]
    given = [partial(allocates, always=True), lambda point: True, SimpleNamespace(), op.impls["torch_compile"].allocates]
    hashes = [
        source_hash(replace(op, name=str(i), impls={"own": replace(op.impls["triton"], allocates=one)}), "own")
        for i, one in enumerate(given)
    ]
    assert len({*hashes, source_hash(op, "triton")}) == len(given) + 1


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("v2:1", "v2:1", False),
        ("v2:1", "v2:2", True),
        ("1", "2", True),
        ("1", "v2:1", None),
        ("v2:1", "v3:1", None),
        (None, "v2:1", None),
        ("v2:1", None, None),
        (None, None, None),
    ],
)
def test_hashes_of_different_rules_are_not_compared(before: str | None, after: str | None, expected: bool | None) -> None:
    assert source_changed(before, after) is expected
