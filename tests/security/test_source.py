"""What the code must never do with data, held by its syntax: run it, unpickle it, or load anything for the page from a network."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernels.guard import NAMES, ROOT

SOURCES = [*sorted(path for folder in NAMES for path in (ROOT / folder).rglob("*.py")), ROOT / "conftest.py"]
RUNS_TEXT = {"eval", "exec", "compile", "__import__"}
UNPICKLES = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
UNPICKLING_CALLS = {"read_pickle", "to_pickle"}
NETWORK = {"requests", "urllib", "urllib3", "http", "socket", "aiohttp", "httpx", "ftplib", "smtplib", "websocket", "websockets"}
SAFE_LOADERS = {"SafeLoader", "CSafeLoader"}
YAML_LOADS = {"load", "load_all", "full_load", "full_load_all", "unsafe_load", "unsafe_load_all"}
SHELLS = {("os", "system"), ("os", "popen"), ("subprocess", "getoutput"), ("subprocess", "getstatusoutput")}
MARKUP_MADE_IN = {"reports/page/__init__.py", "reports/section.py"}  # of the page's own files, or of templates


def wrong(tree: ast.AST) -> Iterator[str]:
    """Each rule that the tree breaks, in words."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from wrong_import(node)
        elif isinstance(node, ast.Call):
            yield from wrong_call(node)
        elif isinstance(node, ast.Attribute) and of(node)[0] == "yaml" and node.attr.endswith("Loader") and node.attr not in SAFE_LOADERS:
            yield f"yaml.{node.attr} makes objects"


def wrong_import(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom):
        modules, names = [node.module or ""], [alias.name for alias in node.names]
    else:
        modules, names = [alias.name for alias in node.names], []
    for module in modules:
        if module.split(".")[0] in UNPICKLES and names != ["UnpicklingError"]:  # an error to catch runs nothing
            yield f"imports {module}: pickles run code"
        if module == "yaml" and names:
            yield "imports names from yaml: write yaml.name, which these rules see"
        if module == "torch" and "load" in names:
            yield "imports torch.load by name"
        if module == "os" and {"system", "popen"} & set(names):
            yield "imports a shell from os"


def wrong_call(node: ast.Call) -> Iterator[str]:
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    if isinstance(node.func, ast.Name) and node.func.id in RUNS_TEXT:
        yield f"calls {node.func.id}()"
    if not isinstance(node.func, ast.Attribute):
        return
    owner, name = of(node.func)
    if owner == "builtins" and name in RUNS_TEXT:
        yield f"calls builtins.{name}()"
    if owner == "yaml" and name in YAML_LOADS and not safe_loader(given.get("Loader")):
        yield f"yaml.{name} without a safe loader"
    if owner == "torch" and name == "load" and not is_true(given.get("weights_only")):
        yield "torch.load without weights_only=True"
    if name in UNPICKLING_CALLS or (owner in ("np", "numpy") and name == "load" and is_true(given.get("allow_pickle"))):
        yield f"{name} unpickles"
    if (owner, name) in SHELLS or is_true(given.get("shell")):
        yield f"{owner}.{name} runs a shell"


def of(node: ast.Attribute) -> tuple[str, str]:
    """`a.b` as ("a", "b"); the owner is empty where it is no plain name."""
    return (node.value.id if isinstance(node.value, ast.Name) else "", node.attr)


def safe_loader(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Attribute) and value.attr in SAFE_LOADERS


def is_true(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is True


@pytest.mark.slow
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_data_stays_data(path: Path) -> None:
    assert list(wrong(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "code",
    [
        "eval('1')",
        "exec(text)",
        "compile(text, 'f', 'eval')",
        "__import__(name)",
        "import builtins; builtins.eval(text)",
        "import pickle",
        "from pickle import loads",
        "import cloudpickle as cp",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.FullLoader)",
        "yaml.load(text, Loader=chosen)",
        "yaml.unsafe_load(text)",
        "yaml.parse(text, Loader=yaml.UnsafeLoader)",
        "from yaml import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "from torch import load",
        "pd.read_pickle(path)",
        "np.load(path, allow_pickle=True)",
        "os.system(command)",
        "from os import system",
        "subprocess.run(command, shell=True)",
    ],
)
def test_the_rules_see(code: str) -> None:
    assert list(wrong(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "yaml.safe_load(text)",
        "yaml.load(text, Loader=yaml.CSafeLoader)",
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "re.compile(text); triton.compile(source); torch.compile(f)",
        "ast.parse(text, mode='eval')",
        "subprocess.run(['git', 'status'])",
    ],
)
def test_the_rules_let_pass(code: str) -> None:
    assert list(wrong(ast.parse(code))) == []


def imports(path: Path) -> set[str]:
    """The packages that a file imports. urllib.parse only takes text apart, and stands by itself."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name if name == "urllib.parse" else name.split(".")[0] for name in names}


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["kernels", "reports"])
def test_costs_and_pages_are_made_without_a_network(folder: str) -> None:
    assert {str(p): found for p in (ROOT / folder).rglob("*.py") if (found := imports(p) & NETWORK)} == {}


@pytest.mark.slow
def test_markup_is_made_of_templates_and_own_files_only() -> None:
    """Whatever is Markup is not escaped again, so few places may make it."""
    makers = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name) and node.id == "Markup" and isinstance(node.ctx, ast.Load):
                makers.add(path.relative_to(ROOT).as_posix())
    assert makers == MARKUP_MADE_IN


PAGE = ROOT / "reports" / "page"


@pytest.mark.parametrize("path", sorted(PAGE.rglob("*.j2")), ids=lambda path: path.name)
def test_templates_escape_and_name_no_address(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\|\s*safe\b|autoescape\s+false|\bMarkup\b", text)
    assert "://" not in text
    assert not re.search(r"\bon[a-z]+\s*=", text), "handlers in attributes would take names as code"


@pytest.mark.parametrize("path", sorted([*PAGE.rglob("*.js"), *PAGE.rglob("*.css")]), ids=lambda path: path.name)
def test_scripts_and_styles_load_nothing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\bfetch\s*\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|importScripts|@import", text)
    assert not re.search(r"\bimport\s*\((?!tables\))", text), "but of the bundle in the page, by its blob's address"
    assert not re.search(r"\beval\s*\(|new\s+Function\b|document\.write|outerHTML|insertAdjacentHTML", text)
    assert not re.findall(r"https?://(?!www\.w3\.org/)[^\s\"']+", text)
