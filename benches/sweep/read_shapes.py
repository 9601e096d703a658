"""The shapes of an entry: its axes and listed rows, read, and their names checked against the op's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice, product

from benches.sweep.given import MAX_DIMS, Given
from benches.sweep.shapes import Row, dim_name_problem, model_rows, read_points
from kernels.op import Op, OpError
from kernels.strict_yaml.problems import quote, valid_names
from kernels.strict_yaml.values import axis, missing

MAX_COMBINATIONS = 200  # of options, with which the names of dims are checked before expanding

Axes = Mapping[str, Sequence[int]]


def read_shapes(given: Given) -> tuple[Axes, tuple[Row, ...]]:
    """Returns axes and rows; no rows where they, or all axes, are wrong. `tokens` beside a model's layers becomes the axis m."""
    axes = _axes(given)
    rows: list[Row] = []
    if "points" in given.items and "shapes_from" in given.items:
        given.problems.add(given.spots["shapes_from"], "shapes_from", "cannot be combined with points")
    elif "points" in given.items:
        rows = read_points(given.items["points"].value, given.options, given.reserved, given.folder, given.problems)
    elif "shapes_from" in given.items:
        rows = _layers(given)
        for name in axes:
            if name != "tokens":
                given.problems.add(given.spots[name], name, f"unknown dim {quote(name)} beside shapes_from; valid: tokens")
        if "dims" not in given.items or (axes and "tokens" not in axes):
            missing(given.spots["shapes_from"], "dims", ["{tokens: …}"], given.problems)
        axes = {"m": axes.get("tokens", ())}
    elif axes:
        rows = [Row(given.node.spot, {}, {})]
    elif "dims" not in given.items:
        missing(given.node.spot, "dims", ["dims, points, shapes_from"], given.problems)
    for row in rows:
        for name in axes.keys() & row.dims.keys():
            given.problems.add(row.spot, name, "given in dims too")
    return axes, tuple(rows)


def _axes(given: Given) -> Axes:
    if "dims" in given.items and not given.dims:
        shape = f"needs a mapping of 1 to {MAX_DIMS} dims to sizes, such as {{m: 4096, n: [1, 2]}}"
        given.problems.add(given.spots["dims"], "dims", shape)
    axes = {}
    for name, item in given.dims.items():
        if why := dim_name_problem(name, given.reserved):
            given.problems.add(item.spot, name, why)
        axes[name] = axis(item.value, name, given.problems)
    return axes


def _layers(given: Given) -> list[Row]:
    """Returns the rows of a model's layers, which are matmuls."""
    if given.op and given.op.name != "matmul":
        given.problems.add(given.spots["shapes_from"], "shapes_from", f"layers are matmuls, not {given.op.name}")
        return []
    return model_rows(given.items["shapes_from"].value, given.folder, given.problems)


def check_names(given: Given, op: Op, axes: Axes, rows: Sequence[Row], options: Mapping[str, tuple[str, ...]]) -> None:
    """Notes every unknown and missing dim, and every option that must be given."""
    for name, option in op.options.items():
        in_points = "points" in given.items and all(name in row.options for row in rows)
        if option.default is None and name not in given.items and not in_points:
            missing(given.node.spot, name, option.choices, given.problems)
    # Where an option is wrong any of its values will do: the names of the dims are checked all the same.
    any_value = {name: (option.default,) if option.default else option.choices[:1] for name, option in op.options.items()}
    kinds = {(tuple(row.dims), tuple(row.options.items())): row for row in rows}
    for (names, _), row in kinds.items():
        filled = {name: (row.options[name],) if name in row.options else options.get(name) or any_value[name] for name in op.options}
        for values in islice(product(*filled.values()), MAX_COMBINATIONS):
            _check_dims(given, op, dict(zip(filled, values, strict=True)), [*axes, *names], row)


def _check_dims(given: Given, op: Op, options: Mapping[str, str], names: list[str], row: Row) -> None:
    unknown = False
    while True:
        try:
            op.dim_order(options, names)
        except OpError as error:
            if error.key in names:
                unknown = True
                names = [name for name in names if name != error.key]
                spot = row.spot if error.key in row.dims else given.spots[error.key]
                given.problems.add(spot, error.key, f"{error}{valid_names(error.key, error.valid)}")
                continue
            # A misspelt dim is missing too, and that is one mistake.
            if not unknown or error.key != "dims":
                in_row = error.key in row.options or (error.key == "dims" and row.dims)
                spot = row.spot if in_row else given.spots.get(error.key, given.node.spot)
                given.problems.add(spot, error.key, f"{error}{valid_names('', error.valid)}")
        return
