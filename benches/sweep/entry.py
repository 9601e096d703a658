"""One entry of a sweep's `sweeps:` list: read, checked, counted, and expanded into points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import Path

from benches.sweep.filters import Where, WhereError, parse_where
from benches.sweep.shapes import Row, dim_name_problem, model_rows, read_points
from kernels.op import Op, OpError, Option, Point
from kernels.precisions import PRECISIONS
from kernels.registry import OPS
from kernels.strict_yaml.nodes import Item, Map, Node, Scalar, Seq, describe
from kernels.strict_yaml.problems import Problems, Spot, quote, valid_names
from kernels.strict_yaml.values import axis, choices, chosen, integer, known_keys, missing

KEYS = ("op", "impl", "precision", "dims", "points", "shapes_from", "where", "exclude")
EVERY_OPTION: dict[str, Option] = {name: option for op in OPS.values() for name, option in op.options.items()}
EVERY_IMPL = tuple(dict.fromkeys(name for op in OPS.values() for name in op.impls))
MAX_DIMS = 32
MAX_FILTERS = 100  # parts of where and exclude together, each tried on every point at about 0.1 µs
MAX_COMBINATIONS = 200  # of options, with which the names of dims are checked before expanding

Match = Mapping[str, Mapping[str | int, None]]  # values of each key: a set that keeps its order, so that `resolved` is always the same


@dataclass(frozen=True)
class Entry:
    """A checked entry: the product of rows, axes, options, precisions and implementations, less what the filters drop."""

    spot: Spot
    op: Op
    impls: tuple[str, ...]
    precisions: tuple[str, ...]
    axes: Mapping[str, Sequence[int]]
    options: Mapping[str, tuple[str, ...]]  # those given
    rows: tuple[Row, ...]  # listed shapes; a single empty one where there are only axes
    wheres: tuple[Where, ...]  # must hold
    excludes: tuple[Where, ...]  # must not hold
    matches: tuple[Match, ...]  # must not match
    spots: Mapping[str, Spot] = field(default_factory=dict)  # of keys and dims

    def count(self) -> int:
        """Points before filters."""
        shared = math.prod(map(len, (self.impls, self.precisions, *self.axes.values())))
        lengths = {name: len(values) for name, values in self.options.items()}
        return shared * sum(math.prod(n for name, n in lengths.items() if name not in row.options) for row in self.rows)

    def expand(self, problems: Problems) -> Iterator[Point]:
        """The points that the filters leave, those of one shape side by side, so that implementations are timed close together."""
        defaults = {name: option.default for name, option in self.op.options.items()}
        for row, dims in self._shapes(problems):
            axes = {name: values for name, values in self.options.items() if name not in row.options}
            for values in product(*axes.values()):
                options = {**row.options, **dict(zip(axes, values, strict=True))}
                for precision, impl in product(self.precisions, self.impls):
                    if self.matches and self._matched({**defaults, **options, **dims, "impl": impl, "precision": precision}):
                        continue
                    try:
                        yield self.op.point(impl, precision, dims, options, row.label)
                    except OpError as error:
                        spot = row.spot if error.key in row.options else self.spots.get(error.key, row.spot)
                        problems.add(spot, error.key, f"{error}{valid_names('', error.valid)}")

    def _shapes(self, problems: Problems) -> Iterator[tuple[Row, dict[str, int]]]:
        for row in self.rows:
            for sizes in product(*self.axes.values()):
                dims = {**dict(zip(self.axes, sizes, strict=True)), **row.dims}
                try:
                    if all(where.test(dims) for where in self.wheres) and not any(where.test(dims) for where in self.excludes):
                        yield row, dims
                except ZeroDivisionError:
                    shape = ", ".join(f"{name}={size}" for name, size in dims.items())
                    problems.add(self.spots["where" if self.wheres else "exclude"], "where", f"divides by zero at {shape}")

    def _matched(self, selected: Mapping[str, str | int | None]) -> bool:
        for match in self.matches:  # plain loops: this runs 100 times for each of 20,000 points
            for key, values in match.items():
                if selected.get(key) not in values:
                    break
            else:
                return True
        return False


def read_entry(node: Node, defaults: Map | None, folder: Path, problems: Problems) -> Entry | None:
    """An entry with the defaults merged in, or None where something is wrong with it."""
    if not isinstance(node, Map):
        problems.add(node.spot, "sweeps", f"an entry is a mapping such as {{op: matmul, …}}, not {describe(node)}")
        return None
    return _Reader(node, defaults, folder, problems).entry()


class _Reader:
    """One entry being read. Where a part is wrong, the others are still checked."""

    def __init__(self, node: Map, defaults: Map | None, folder: Path, problems: Problems):
        self.node = node
        self.folder = folder
        self.problems = problems
        self.before = len(problems)
        given = {**(defaults.items if defaults else {}), **node.items}
        if "op" not in given:
            missing(node.spot, "op", OPS, problems)
        name = chosen(given["op"].value, "op", OPS, problems) if "op" in given else None
        self.op = OPS[name] if name else None
        self.impls = tuple(self.op.impls) if self.op else EVERY_IMPL
        self.options = self.op.options if self.op else EVERY_OPTION  # an unknown op is one mistake, its options are no more of them
        known_keys(node, (*KEYS, *self.options), name or "an entry", problems)
        # A default option goes to the ops that have it.
        self.items = {key: item for key, item in given.items() if key in KEYS or key in self.options}
        self.reserved = dict.fromkeys((*KEYS, *self.options, "label"))
        self.spots = {key: item.spot for key, item in self.items.items()}

    def entry(self) -> Entry | None:
        impls = self.words("impl", self.impls) if "impl" in self.items else self.impls
        precisions = self.words("precision", PRECISIONS) if "precision" in self.items else tuple(PRECISIONS)
        options = {name: self.words(name, option.choices) for name, option in self.options.items() if name in self.items}
        axes, rows = self.shapes()
        if "shapes_from" in self.items:
            options = {"layout": ("nt",)} | options  # a linear layer's weight is stored (out, in)
        if self.op:
            self.check_names(self.op, axes, rows, options)
        wheres, excludes, matches = self.filters({*axes, *(name for row in rows for name in row.dims)})
        if not self.op or len(self.problems) > self.before:
            return None
        return Entry(self.node.spot, self.op, impls, precisions, axes, options, rows, wheres, excludes, matches, self.spots)

    def words(self, key: str, valid: Iterable[str]) -> tuple[str, ...]:
        return choices(self.items[key].value, key, valid, self.problems) if key in self.items else ()

    def shapes(self) -> tuple[dict[str, Sequence[int]], tuple[Row, ...]]:
        """Axes and rows; no rows where they, or all axes, are wrong. `tokens` of a model's layers are their m."""
        axes = self.axes()
        rows: list[Row] = []
        if "points" in self.items and "shapes_from" in self.items:
            self.problems.add(self.items["shapes_from"].spot, "shapes_from", "cannot stand beside points")
        elif "points" in self.items:
            rows = read_points(self.items["points"].value, self.options, self.reserved, self.folder, self.problems)
        elif "shapes_from" in self.items:
            rows = self.layers()
            for name in axes:
                if name != "tokens":
                    self.problems.add(self.spots[name], name, f"unknown dim {quote(name)} beside shapes_from; valid: tokens")
            if "dims" not in self.items or (axes and "tokens" not in axes):
                missing(self.items["shapes_from"].spot, "dims", ["{tokens: …}"], self.problems)
            axes = {"m": axes.get("tokens", ())}
        elif axes:
            rows = [Row(self.node.spot, {}, {})]
        elif "dims" not in self.items:
            missing(self.node.spot, "dims", ["dims, points, shapes_from"], self.problems)
        for row in rows:
            for name in axes.keys() & row.dims.keys():
                self.problems.add(row.spot, name, "given in dims too")
        return axes, tuple(rows)

    def layers(self) -> list[Row]:
        item = self.items["shapes_from"]
        if self.op and self.op.name != "matmul":
            self.problems.add(item.spot, "shapes_from", f"layers are matmuls, not {self.op.name}")
            return []
        return model_rows(item.value, self.problems)

    def axes(self) -> dict[str, Sequence[int]]:
        if "dims" not in self.items:
            return {}
        node = self.items["dims"].value
        if not isinstance(node, Map) or not node.items or len(node.items) > MAX_DIMS:
            shape = f"needs a mapping of 1 to {MAX_DIMS} dims to sizes, such as {{m: 4096, n: [1, 2]}}"
            self.problems.add(self.items["dims"].spot, "dims", shape)
            return {}
        axes = {}
        for name, item in node.items.items():
            self.spots[name] = item.spot
            if why := dim_name_problem(name, self.reserved):
                self.problems.add(item.spot, name, why)
            axes[name] = axis(item.value, name, self.problems)
        return axes

    def check_names(self, op: Op, axes: Mapping[str, object], rows: tuple[Row, ...], options: dict[str, tuple[str, ...]]) -> None:
        """Notes every unknown and missing dim, and every option that must be given."""
        for name, option in op.options.items():
            in_points = "points" in self.items and all(name in row.options for row in rows)
            if option.default is None and name not in self.items and not in_points:
                missing(self.node.spot, name, option.choices, self.problems)
        kinds = {(tuple(row.dims), tuple(row.options.items())): row for row in rows}
        for (names, _), row in kinds.items():
            # Where an option is wrong any of its values will do: the names of the dims are checked all the same.
            any_value = {name: (option.default,) if option.default else option.choices[:1] for name, option in op.options.items()}
            filled = {name: (row.options[name],) if name in row.options else options.get(name) or any_value[name] for name in op.options}
            for values in islice(product(*filled.values()), MAX_COMBINATIONS):
                self.check_dims(op, dict(zip(filled, values, strict=True)), [*axes, *names], row)

    def check_dims(self, op: Op, options: Mapping[str, str], names: list[str], row: Row) -> None:
        unknown = False
        while True:
            try:
                op.dim_order(options, names)
            except OpError as error:
                if error.key in names:
                    unknown = True
                    names = [name for name in names if name != error.key]
                    spot = row.spot if error.key in row.dims else self.spots[error.key]
                    self.problems.add(spot, error.key, f"{error}{valid_names(error.key, error.valid)}")
                    continue
                # A misspelt dim is missing too, and that is one mistake.
                if not unknown or error.key != "dims":
                    in_row = error.key in row.options or (error.key == "dims" and row.dims)
                    spot = row.spot if in_row else self.spots.get(error.key, self.node.spot)
                    self.problems.add(spot, error.key, f"{error}{valid_names('', error.valid)}")
            return

    def filters(self, names: set[str]) -> tuple[tuple[Where, ...], tuple[Where, ...], tuple[Match, ...]]:
        """`where`, and the two kinds of `exclude`."""
        wheres = self.conditions("where", names)
        excludes = self.conditions("exclude", names)
        matches = [self.match(node, names) for node in self.each("exclude") if isinstance(node, Map)]
        if sum(w.parts for w in (*wheres, *excludes)) + sum(map(len, matches)) > MAX_FILTERS:
            self.problems.add(self.node.spot, "exclude", f"where and exclude together have more than {MAX_FILTERS} parts")
        return wheres, excludes, tuple(matches)

    def each(self, key: str) -> tuple[Node, ...]:
        if key not in self.items:
            return ()
        node = self.items[key].value
        return node.items if isinstance(node, Seq) else (node,)

    def conditions(self, key: str, names: set[str]) -> tuple[Where, ...]:
        found = []
        for node in self.each(key):
            if isinstance(node, Scalar):
                found += self.condition(node, key, names)
            elif key == "where" or isinstance(node, Seq):
                self.problems.add(node.spot, key, f"needs a condition such as m >= k, not {describe(node)}")
        return tuple(found)

    def condition(self, node: Scalar, key: str, names: set[str]) -> list[Where]:
        try:
            where = parse_where(node.text, names)
        except WhereError as error:
            self.problems.add(node.spot, key, f"{quote(node.text)}: {error}")
            return []
        unknown = [name for name in where.names if name not in names]
        for name in unknown if names else ():  # without any dim, that is the mistake
            self.problems.add(node.spot, key, f"{quote(node.text)}: unknown dim {quote(name)}{valid_names(name, sorted(names))}")
        return [] if unknown else [where]

    def match(self, node: Map, names: set[str]) -> Match:
        valid = ("impl", "precision", *self.options, *sorted(names))
        known_keys(node, valid, "exclude", self.problems)
        if not node.items:
            self.problems.add(node.spot, "exclude", "an empty mapping would match every point")
        return {key: dict.fromkeys(self.match_values(key, item, names)) for key, item in node.items.items() if key in valid}

    def match_values(self, key: str, item: Item, names: set[str]) -> Sequence[str | int]:
        if key in names:
            nodes = item.value.items if isinstance(item.value, Seq) else (item.value,)
            return [size for node in nodes if (size := integer(node, key, self.problems)) is not None]
        valid = {"impl": self.impls, "precision": tuple(PRECISIONS)}.get(key)
        return choices(item.value, key, self.options[key].choices if valid is None else valid, self.problems)
