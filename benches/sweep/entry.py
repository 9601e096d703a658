"""One entry of a sweep's `sweeps:` list: read, checked, counted, and expanded into points."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from benches.sweep.given import read_given
from benches.sweep.read_filters import Filters, read_filters
from benches.sweep.read_shapes import check_names, read_shapes
from benches.sweep.shapes import Row
from kernels.op import Op, OpError, Point
from kernels.precisions import PRECISIONS
from kernels.strict_yaml.nodes import Map, Node, describe
from kernels.strict_yaml.problems import Problems, Spot, valid_names


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
    filters: Filters
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
                    if self.filters.matches and self.filters.drop({**defaults, **options, **dims, "impl": impl, "precision": precision}):
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
                    if self.filters.keep(dims):
                        yield row, dims
                except ZeroDivisionError:
                    shape = ", ".join(f"{name}={size}" for name, size in dims.items())
                    problems.add(self.spots["where" if self.filters.wheres else "exclude"], "where", f"divides by zero at {shape}")


def read_entry(node: Node, defaults: Map | None, folder: Path, problems: Problems) -> Entry | None:
    """An entry with the defaults merged in, or None where something is wrong with it.

    Where a part is wrong, the others are still checked.
    """
    if not isinstance(node, Map):
        problems.add(node.spot, "sweeps", f"an entry is a mapping such as {{op: matmul, …}}, not {describe(node)}")
        return None
    before = len(problems)
    given = read_given(node, defaults, folder, problems)
    impls = given.words("impl", given.impls) if "impl" in given.items else given.usual_impls
    precisions = given.words("precision", PRECISIONS) if "precision" in given.items else tuple(PRECISIONS)
    options = {name: given.words(name, option.choices) for name, option in given.options.items() if name in given.items}
    axes, rows = read_shapes(given)
    if "shapes_from" in given.items:
        options = {"layout": ("nt",)} | options  # a linear layer's weight is stored (out, in)
    if given.op:
        check_names(given, given.op, axes, rows, options)
    filters = read_filters(given, {*axes, *(name for row in rows for name in row.dims)})
    if not given.op or len(problems) > before:
        return None
    return Entry(node.spot, given.op, impls, precisions, axes, options, rows, filters, given.spots)
