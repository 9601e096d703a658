"""What a module's text shows without running it: which statements bind a name, what they read and write, and their normalised text.

Normalised text does not depend on comments, docstrings, layout, annotations or the version of Python. An annotation is kept where
something reads it: under a decorator such as triton.jit, or in the body of a class whose fields a library reads.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

# Decorators and bases that read no annotations, by the last part of their name; any other is assumed to read them.
PLAIN_DECORATORS = {
    *(
        "abstractmethod",
        "cache",
        "cached_property",
        "classmethod",
        "compile",
        "contextmanager",
        "deleter",
        "enable_grad",
        "final",
        "getter",
    ),
    *("inference_mode", "lru_cache", "no_grad", "overload", "override", "property", "setter", "staticmethod", "total_ordering", "wraps"),
}
PLAIN_BASES = {
    *(
        "ABC",
        "Enum",
        "Exception",
        "Function",
        "Generic",
        "IntEnum",
        "Module",
        "NamedTuple",
        "Protocol",
        "StrEnum",
        "TypedDict",
        "ValueError",
    ),
    *("object", "dict", "list", "tuple", "set", "int", "float", "str"),
}
FIELD_KINDS = {"ClassVar", "InitVar", "KW_ONLY"}  # the annotations that dataclass itself reads
SKIPPED = {"ctx", "kind", "type_comment", "type_ignores", "type_params", "returns", "annotation"}
RUNS_NAMES = {"eval", "exec", "globals"}  # reach whatever the module holds
IMPORTS_BY_NAME = {"__import__", "import_module", "resolve_name"}
NAMED_CODE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")  # "package.module:function", as Impl.build names code

Function = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(frozen=True)
class Ref:
    """A name that is read: the dotted `names` in `module` (None: the module that reads it). Without `names`, the whole module."""

    module: str | None
    names: tuple[str, ...] = ()


@dataclass
class Uses:
    """What a statement reads and imports, what it writes into besides the names that it binds, what it calls or decorates with."""

    reads: list[Ref] = field(default_factory=list)
    imported: list[Ref] = field(default_factory=list)
    writes: list[Ref] = field(default_factory=list)
    calls: list[Ref] = field(default_factory=list)
    bases: list[Ref] = field(default_factory=list)


@dataclass
class Module:
    """A module's top-level statements, by what they do when it is imported."""

    name: str
    package: bool
    bindings: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, Ref] = field(default_factory=dict)  # names that only imports bind
    stars: list[str] = field(default_factory=list)
    imported: list[Ref] = field(default_factory=list)  # what importing it imports
    acts: list[ast.stmt] = field(default_factory=list)  # statements that do more than bind names
    may_act: list[ast.stmt] = field(default_factory=list)  # statements that bind names, but may call something meanwhile
    source: bytes = b""
    opaque: bool = False  # holds no Python that can be read

    def statements(self) -> list[ast.stmt]:
        """All statements that count, in the order of the file."""
        found = {id(one): one for one in (*(s for group in self.bindings.values() for s in group), *self.acts)}
        return sorted(found.values(), key=lambda one: one.lineno)


def module(name: str, package: bool, source: bytes) -> Module:
    """The table of a module's text; `opaque` where Python cannot parse it."""
    made = Module(name, package, source=source)
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        made.opaque = True
        return made
    for statement in tree.body:
        _file(made, statement)
    return made


def _file(made: Module, statement: ast.stmt, runs: bool = True) -> None:
    """Adds a top-level statement to the table. runs: False for what only type checkers see."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        for bound, ref in imports(statement, made.name, made.package):
            if bound == "*":
                made.stars.append(ref.module or "")
            else:
                made.imports[bound] = ref
            if runs:
                made.imported.append(ref)
    elif _for_type_checkers(statement):
        for one in statement.body:  # type: ignore[attr-defined]
            _file(made, one, runs=False)
    elif not _does_nothing(statement) and not _only_as_a_program(statement):
        names = bound_in([statement])[0] | (_declared_global(statement) if b"global" in made.source else set())
        for name in sorted(names):
            made.bindings.setdefault(name, []).append(statement)
        if not _only_binds(statement):
            made.acts.append(statement)
        elif not isinstance(statement, Function) or statement.decorator_list:
            made.may_act.append(statement)


def _declared_global(statement: ast.stmt) -> set[str]:
    """Names of the module that the functions in a statement may rebind."""
    return {name for node in ast.walk(statement) if isinstance(node, ast.Global) for name in node.names}


def imports(node: ast.Import | ast.ImportFrom, home: str, package: bool) -> Iterator[tuple[str, Ref]]:
    """Each name that an import binds, and what it refers to. home: the module that contains the import."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (alias.asname, Ref(alias.name)) if alias.asname else (alias.name.split(".")[0], Ref(alias.name.split(".")[0]))
        return
    parts = home.split(".") if package else home.split(".")[:-1]
    base = ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])]) if node.level else node.module or ""
    for alias in node.names:
        yield (alias.asname or alias.name, Ref(base, () if alias.name == "*" else (alias.name,)))


def _for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and (chain(node.test) or ("",))[-1] == "TYPE_CHECKING" and not node.orelse


def _only_as_a_program(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Compare) and chain(node.test.left) == ("__name__",)


def _does_nothing(node: ast.AST) -> bool:
    """Whether a statement is a docstring or another lone constant, `pass`, or an annotation without a value."""
    lone = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return lone or isinstance(node, ast.Pass) or (isinstance(node, ast.AnnAssign) and node.value is None)


def _only_binds(node: ast.stmt) -> bool:
    """Whether a statement only binds names, apart from what the calls in it do."""
    if isinstance(node, ast.If | ast.Try):
        parts = [
            *node.body,
            *node.orelse,
            *([*node.finalbody, *(s for h in node.handlers for s in h.body)] if isinstance(node, ast.Try) else []),
        ]
        return all(map(_only_binds, parts))
    if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return not any(isinstance(part, ast.Subscript | ast.Attribute) for target in targets for part in ast.walk(target))
    return isinstance(node, ast.Import | ast.ImportFrom | Function | ast.ClassDef) or _does_nothing(node) or hasattr(node, "type_params")


def chain(node: ast.AST) -> tuple[str, ...] | None:
    """`a.b.c` as ("a", "b", "c"); None for an expression that does not begin with a name."""
    if isinstance(node, ast.Name):
        return (node.id,)
    inner = chain(node.value) if isinstance(node, ast.Attribute) else None
    return (*inner, node.attr) if inner and isinstance(node, ast.Attribute) else None


def bound_in(nodes: Iterable[ast.AST]) -> tuple[set[str], list[ast.Import | ast.ImportFrom]]:
    """Names that statements bind in their own scope, and the imports among them. Names declared global or nonlocal are left out."""
    names: set[str] = set()
    outer: set[str] = set()
    found: list[ast.Import | ast.ImportFrom] = []
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, Function | ast.ClassDef):
            names.add(node.name)
            waiting += [*node.decorator_list, *(node.bases if isinstance(node, ast.ClassDef) else node.args.defaults)]
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, Comprehension):  # its targets are local to it; names bound by `:=` are not
            names |= {one.target.id for one in ast.walk(node) if isinstance(one, ast.NamedExpr)}
            continue
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
            found.append(node)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            outer |= set(node.names)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar | ast.MatchMapping):
            name = node.rest if isinstance(node, ast.MatchMapping) else node.name
            names |= {name} if name else set()
        waiting += ast.iter_child_nodes(node)
    return names - outer, found


def reads_annotations(node: Function) -> bool:
    """Whether a decorator may read the annotations of a function, as triton.jit does."""
    return any(_last(one) not in PLAIN_DECORATORS for one in node.decorator_list)


def makes_fields(node: ast.ClassDef) -> bool:
    """Whether something may read the annotations in the body of a class, as pydantic does; dataclass reads only FIELD_KINDS."""
    decorators = any(_last(one) != "dataclass" and _last(one) not in PLAIN_DECORATORS for one in node.decorator_list)
    return decorators or any(_last(one) not in PLAIN_BASES for one in node.bases)


def _last(node: ast.expr) -> str:
    inner = node.func if isinstance(node, ast.Call) else node.value if isinstance(node, ast.Subscript) else node
    return (chain(inner) or ("",))[-1]


def text(node: object, annotated: bool = False, within: ast.ClassDef | None = None) -> str:
    """The normalised text of a syntax tree.

    annotated: whether something reads the annotations of this function. within: the class whose body contains these statements.
    """
    if isinstance(node, list):
        kept = [one for one in node if not _left_out(one, annotated, within)]
        return f"[{','.join(text(one, annotated, within) for one in kept)}]"
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__} {hex(node.value) if type(node.value) is int else ascii(node.value)}"
    if not isinstance(node, ast.AST):
        return ascii(node)
    if isinstance(node, ast.AnnAssign):
        return _annotated_assignment(node, annotated, within)
    if isinstance(node, Function):
        annotated, within = reads_annotations(node), None
    elif isinstance(node, ast.ClassDef):
        annotated, within = makes_fields(node), node
    fields = {name: value for name, value in ast.iter_fields(node) if name not in SKIPPED and value is not None and value != []}
    parts = [f"{name}={text(value, annotated, within if name == 'body' else None)}" for name, value in fields.items()]
    if annotated and isinstance(node, ast.arg | Function):
        parts.append(_annotation(node.annotation if isinstance(node, ast.arg) else node.returns))
    return f"{type(node).__name__}({','.join(parts)})"


def _left_out(node: object, annotated: bool, within: ast.ClassDef | None) -> bool:
    if isinstance(node, ast.AnnAssign) and node.value is None:
        return not (annotated or within)
    return isinstance(node, ast.Import | ast.ImportFrom) or (
        isinstance(node, ast.AST) and (_does_nothing(node) or _for_type_checkers(node))
    )


def _annotated_assignment(node: ast.AnnAssign, annotated: bool, within: ast.ClassDef | None) -> str:
    """The text of a plain assignment, unless the annotation defines a field of a class or something reads it."""
    value = text(node.value) if node.value else ""
    if within is None and not annotated:
        return f"Assign(targets=[{text(node.target)}],value={value})"
    kinds = sorted(FIELD_KINDS & {part for one in ast.walk(node.annotation) for part in (chain(one) or ())})
    annotation = _annotation(node.annotation) if annotated else " ".join(kinds)
    return (
        f"Field({text(node.target)},{annotation},{value})"
        if annotated or _has_fields(within)
        else f"Assign(targets=[{text(node.target)}],value={value})"
    )


def _has_fields(node: ast.ClassDef | None) -> bool:
    return node is not None and bool(node.decorator_list or node.bases or node.keywords)


def _annotation(node: ast.expr | None) -> str:
    """The text of an annotation; empty for tl.tensor, which Triton ignores."""
    return "" if node is None or (chain(node) or ("",))[-1] == "tensor" else text(node)


@dataclass
class _Scope:
    bound: set[str]
    imports: dict[str, Ref]
    of_class: bool = False


class _Reader(ast.NodeVisitor):
    """Fills `uses`. on_import: only what runs when the module is imported, not the bodies of functions."""

    def __init__(self, home: Module, on_import: bool):
        self.uses = Uses()
        self.home, self.on_import = home, on_import
        self.scopes: list[_Scope] = []

    def ref(self, names: tuple[str, ...]) -> Ref | None:
        """What a dotted name refers to; None for a local variable."""
        for place, scope in enumerate(reversed(self.scopes)):
            if scope.of_class and place:
                continue  # methods do not see the names of their class
            if names[0] in scope.imports:
                target = scope.imports[names[0]]
                return Ref(target.module, (*target.names, *names[1:]))
            if names[0] in scope.bound:
                return None
        return Ref(None, names)

    def note(self, into: list[Ref], node: ast.AST) -> None:
        names = chain(node)
        found = self.ref(names) if names else None
        if found:
            into.append(found)

    @contextmanager
    def inside(self, body: Iterable[ast.AST], names: Iterable[str] = (), of_class: bool = False) -> Iterator[None]:
        """Enters the scope of a function, class or comprehension."""
        bound, found = bound_in(body)
        imported = dict(pair for one in found for pair in imports(one, self.home.name, self.home.package))
        self.scopes.append(_Scope(bound | set(names), imported, of_class))
        yield
        self.scopes.pop()

    def visit_Name(self, node: ast.Name) -> None:
        self.note(self.uses.reads, node)
        if self.scopes and not isinstance(node.ctx, ast.Load):
            self.note(self.uses.writes, node)  # a name declared global

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.root(node)
        if chain(node):
            self.note(self.uses.reads, node)
        else:
            self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.root(node)
        self.generic_visit(node)

    def root(self, node: ast.AST) -> None:
        """Records what a store to an attribute or element changes."""
        while isinstance(node, ast.Subscript) or (isinstance(node, ast.Attribute) and not chain(node)):
            node = node.value
        self.note(self.uses.writes, node.value if isinstance(node, ast.Attribute) else node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and NAMED_CODE.fullmatch(node.value):
            module, _, names = node.value.partition(":")
            self.uses.reads.append(Ref(module, tuple(names.split("."))))

    def visit_Call(self, node: ast.Call) -> None:
        self.note(self.uses.calls, node.func)
        names = chain(node.func) or ("",)
        if names[0] in RUNS_NAMES and self.ref(names) == Ref(None, names):
            self.uses.reads.append(Ref(None))
        elif names[-1] in IMPORTS_BY_NAME:
            first = node.args[0] if node.args else None
            known = isinstance(first, ast.Constant) and isinstance(first.value, str)
            self.uses.reads.append(Ref(first.value.partition(":")[0]) if known else Ref(None))  # type: ignore[union-attr]
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        """Inside a function, the imported names are read where they are used."""
        into = self.uses.imported if self.scopes else self.uses.reads
        into += [ref for _, ref in imports(node, self.home.name, self.home.package)]

    visit_ImportFrom = visit_Import

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        for one in (node.target, node.value):
            if one:
                self.visit(one)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for decorator in node.decorator_list:
            self.note(self.uses.calls, decorator)
            self.visit(decorator)
        self.function(node.args, node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.function(node.args, [node.body])

    def function(self, args: ast.arguments, body: list[ast.stmt] | list[ast.expr]) -> None:
        for default in (*args.defaults, *args.kw_defaults):
            if default:
                self.visit(default)
        if self.on_import:
            return
        names = [arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg) if arg]
        with self.inside(body, names):
            for one in body:
                self.visit(one)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for one in (*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)):
            self.visit(one)
        for one in node.decorator_list:
            self.note(self.uses.calls, one)
        for one in node.bases:
            self.note(self.uses.bases, one)
        with self.inside(node.body, of_class=True):
            for statement in node.body:
                self.visit(statement)

    def comprehension(self, node: Comprehension) -> None:
        first, *others = node.generators
        self.visit(first.iter)
        with self.inside([], {n.id for g in node.generators for n in ast.walk(g.target) if isinstance(n, ast.Name)}):
            for generator in others:
                self.visit(generator.iter)
            for part in (
                *(i for g in node.generators for i in g.ifs),
                *([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]),
            ):
                self.visit(part)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = comprehension


def uses(statement: ast.stmt, home: Module, on_import: bool = False) -> Uses:
    """What a top-level statement reads, writes into and calls, in the order of its text. on_import: only what importing the module runs."""
    reader = _Reader(home, on_import)
    reader.visit(statement)
    return reader.uses
