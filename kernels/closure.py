"""All code that a function depends on, across modules: what it calls, the constants and defaults that it reads, and what fills these.

Own code is this repository and any other module that is not part of an installed package, such as a user's. Of installed packages only the
names count.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib.machinery
import sys
import sysconfig
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path

from kernels.guard import DOOR
from kernels.syntax import Module, Ref, Uses, module, text, uses

RECORDED = {"torch", "triton", "numpy"}  # every run records their versions, even of a build from source
INSTALLED = {"site-packages", "dist-packages"}
STANDARD = {Path(sysconfig.get_paths()[name]) for name in ("stdlib", "platstdlib")}
# Methods that change nothing; a call of any other method of a module's variable may change that variable.
READING = {
    *("copy", "count", "difference", "endswith", "findall", "format", "fullmatch", "get", "index", "intersection", "items", "join", "keys"),
    *("lower", "match", "search", "split", "startswith", "strip", "sub", "union", "upper", "values"),
}
PLAIN = (ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete)  # statements whose changes can be seen in their text


@dataclass(frozen=True)
class Node:
    """A name of a module; without `name`, the whole module; with `act`, one of the statements that do something when it is imported."""

    module: str
    name: str | None = None
    act: int | None = None


def closure(roots: Sequence[str], itself: object = None) -> str:
    """The normalised text of all that the named code ("package.module:function") depends on, numbered by where it is first read, so that
    names of modules and the order of definitions do not count. Raises LookupError for code that is not own code or is not found.

    itself: the object that the roots belong to, such as an Op. Reading the variable that holds it adds nothing.
    """
    return _Walk(roots, itself).text()


@cache
def locate(name: str) -> tuple[Path | None, bool] | None:
    """The file of a module of own code (None for a folder without __init__.py), and whether it is a package; None for other modules.
    Imports nothing."""
    loaded = getattr(sys.modules.get(name), "__spec__", None)
    spec = loaded or _found(name)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if spec is None or not (spec.has_location or folders):
        return None
    path = Path(spec.origin) if spec.has_location and spec.origin else None
    return None if _is_installed((path or Path(folders[0])).absolute(), name) else (path, bool(folders))


def _found(name: str) -> importlib.machinery.ModuleSpec | None:
    parent, _, _ = name.rpartition(".")
    if not parent:
        return importlib.machinery.PathFinder.find_spec(name)
    above = getattr(sys.modules.get(parent), "__spec__", None) or _found(parent)
    folders = above.submodule_search_locations if above else None
    return importlib.machinery.PathFinder.find_spec(name, folders) if folders else None


def _is_installed(path: Path, name: str) -> bool:
    """Whether an installer put the module there, even in a separate folder (pip install --target): environment.json records its version."""
    if name.split(".", maxsplit=1)[0] in {*RECORDED, DOOR} or INSTALLED & set(path.parts) or STANDARD & set(path.parents):
        return True
    depth = name.count(".") + 1 + (path.name == "__init__.py")
    return depth <= len(path.parents) and _holds_packages(path.parents[depth - 1])


@cache
def _holds_packages(folder: Path) -> bool:
    return any(folder.glob("*.dist-info"))


@cache
def table(name: str) -> Module:
    """The table of a module of own code. Each file is read once in a process: an edit made later is not what runs."""
    found = locate(name)
    if found is None:
        raise LookupError(name)
    path, package = found
    if path is None:
        return Module(name, package)
    source = path.read_bytes()
    return module(name, package, source) if path.suffix == ".py" else Module(name, package, source=source, opaque=True)


@cache
def _used(home: str, statement: ast.stmt, on_import: bool = False) -> Uses:
    return uses(statement, table(home), on_import)


@cache
def _normalised(statement: ast.stmt) -> str:
    return text(statement)


def forget() -> None:
    """Clears the caches, so that all files are read again."""
    for cached in (locate, table, _holds_packages, _used, _normalised, changed_by, resolve):
        cached.cache_clear()


@cache
def resolve(home: str, ref: Ref, seen: frozenset[tuple[str, str]] = frozenset()) -> Node | str | None:
    """The node that a name refers to in own code; the dotted name for an installed package; None for a builtin."""
    start = ref.module or home
    if locate(start) is None:
        return ".".join((start, *ref.names))
    if not ref.names:
        return Node(start)
    first, *rest = ref.names
    known = table(start)
    if first in known.bindings:
        return Node(start, first)
    if first in known.imports and (start, first) not in seen:
        target = known.imports[first]
        return resolve(start, Ref(target.module, (*target.names, *rest)), seen | {(start, first)})
    if known.package and locate(f"{start}.{first}"):
        return resolve(home, Ref(f"{start}.{first}", tuple(rest)), seen)
    if ref.module is None and (hasattr(builtins, first) or (first.startswith("__") and first.endswith("__"))):
        return None
    for star in known.stars:
        if locate(star) is None:
            return f"{star}.{first}"
        if (star, first) not in seen and first in {*table(star).bindings, *table(star).imports}:
            return resolve(home, Ref(star, ref.names), seen | {(star, first)})
    return Node(start)  # its origin is unknown: the whole module counts


@cache
def changed_by(home: str, statement: ast.stmt, on_import: bool) -> frozenset[Node]:
    """Variables of modules that a statement changes. on_import: what it changes during import, including through the functions it calls."""
    found = _used(home, statement, on_import)
    changed = {target for ref in found.writes if isinstance(target := resolve(home, ref), Node)}
    for ref in (*found.calls, *found.bases):
        target = resolve(home, ref)
        if not isinstance(target, Node) or target.name is None:
            continue
        statements = table(target.module).bindings[target.name]
        if all(hasattr(one, "body") and hasattr(one, "name") for one in statements):  # a function or a class
            if on_import:
                changed |= {node for one in statements for node in changed_by(target.module, one, False)}
            if ref in found.bases and any("__init_subclass__" in _normalised(one) for one in statements):
                changed.add(target)
        elif ref.names[-1] not in READING:
            changed.add(target)
    return frozenset(changed)


class _Walk:
    """Collects nodes, starting at the roots, in the order in which they are read."""

    def __init__(self, roots: Sequence[str], itself: object):
        self.itself = itself
        self.places: dict[Node, int] = {}
        self.waiting: deque[Node] = deque()
        self.imported: dict[str, None] = {}
        self.parts: list[str] = []
        self.parts.append(" ".join(self.place(self.root(root)) for root in roots))

    def root(self, named: str) -> Node:
        start, _, names = named.partition(":")
        target = resolve(start, Ref(start, tuple(names.split(".")) if names else ()))
        if not isinstance(target, Node):
            raise LookupError(f"{named} is not own code")
        return target

    def text(self) -> str:
        while self.waiting or self.act():
            node = self.waiting.popleft()
            self.imports(node.module)
            self.parts.append("\n".join([str(self.places[node]), *self.lines(node)]))
        return "\n\n".join(self.parts)

    def place(self, target: Node | str | None) -> str:
        """The number of a node, given when it is first seen; a name outside own code unchanged."""
        if not isinstance(target, Node):
            return target or "-"
        if target.name and self.itself is not None and getattr(sys.modules.get(target.module), target.name, None) is self.itself:
            return "itself"
        if target not in self.places:
            self.places[target] = len(self.places)
            self.waiting.append(target)
        return str(self.places[target])

    def lines(self, node: Node) -> Iterator[str]:
        """The text of a node's statements, and what their names refer to."""
        known = table(node.module)
        if known.opaque:
            yield hashlib.sha256(known.source).hexdigest()
            return
        if node.act is not None:
            statements = [self.acts(node.module)[node.act]]
        else:
            statements = known.bindings[node.name] if node.name else known.statements()
        for one in statements:
            found = _used(node.module, one)
            yield _normalised(one)
            yield " ".join(self.place(target) for ref in found.reads if (target := resolve(node.module, ref)))
            for ref in found.imported:
                self.imports_of(node.module, ref)
        if node.name is None and node.act is None:
            yield " ".join(self.place(resolve(node.module, ref)) for ref in known.imports.values())

    def imports(self, name: str) -> None:
        """Records a module and all modules imported with it: what they do on import counts."""
        for one in accumulate(name.split("."), "{}.{}".format):
            if one not in self.imported and locate(one):
                self.imported[one] = None
                for ref in table(one).imported:
                    self.imports_of(one, ref)
                for star in table(one).stars:
                    self.imports(star)

    def imports_of(self, home: str, ref: Ref) -> None:
        start = ref.module or home
        self.imports(start)
        if ref.names and locate(start) and locate(f"{start}.{ref.names[0]}"):
            self.imports(f"{start}.{ref.names[0]}")

    @staticmethod
    def acts(name: str) -> list[ast.stmt]:
        return [*table(name).acts, *table(name).may_act]

    def act(self) -> bool:
        """Adds the statements that act on import, if they change something that was read or their changes are unknown. Returns whether
        nodes are waiting."""
        for name in self.imported:
            for i, one in enumerate(self.acts(name)):
                node, changed = Node(name, act=i), changed_by(name, one, True)
                known = one in table(name).may_act or (changed and isinstance(one, PLAIN))
                if node not in self.places and (changed & self.places.keys() or not known):
                    self.place(node)
        return bool(self.waiting)
