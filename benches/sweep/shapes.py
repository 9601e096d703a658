"""Listed shapes of a sweep's entry: `points:` in the YAML, in a CSV beside it or in a table, and the layers of a model."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from kernels.guard import ROOT
from kernels.models.architecture import Architecture
from kernels.models.architecture_yaml import read_architecture
from kernels.models.hugging_face import read_config
from kernels.op import Option
from kernels.strict_yaml.nodes import Item, Map, Node, Scalar, Seq, describe, read_text, read_yaml
from kernels.strict_yaml.problems import Problems, Spot, quote, valid_names
from kernels.strict_yaml.values import choices, chosen, integer, known_keys, word

MODELS = ROOT / "configs" / "models"
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
MODEL_KEYS = {  # of a model's file; what each holds, which the reference pages print
    "name": "The file's name without `.yaml`.",
    "source": "Where the numbers come from.",
    "architecture": "A mapping of the architecture's numbers, such as layers, d_model, heads, d_ff and vocab.",
    "layers": "The linear layers that `shapes_from` takes, a list of `{name, n, k, count}`: a weight of n output and k input features, "
    "and how many of them the model has.",
}
MAX_COLUMNS = 32
MAX_CELLS = 400_000  # of a table
MAX_NAME = 40  # characters of a dim's name


@dataclass(frozen=True)
class Row:
    """One listed shape: some or all of the dims, options that hold for it alone, and what to call it."""

    spot: Spot
    dims: Mapping[str, int]
    options: Mapping[str, str]
    label: str = ""


def dim_name_problem(name: str, reserved: Mapping[str, object]) -> str | None:
    """Why a dim cannot have this name, or None."""
    if name in reserved:
        return f"{quote(name)} is a key here, so a dim cannot have this name"
    if not name.isidentifier() or len(name) > MAX_NAME:
        return f"{quote(name)} cannot be the name of a dim: letters, digits and _, at most {MAX_NAME}"
    return None


def read_points(node: Node, options: Mapping[str, Option], reserved: Mapping[str, object], folder: Path, problems: Problems) -> list[Row]:
    """Rows of `points:`. Dims stand in the order in which the rows first name them."""
    rows = [row for item in _listed(node, folder, problems) if (row := _row(item, options, reserved, problems)) is not None]
    order = {name: None for row in rows for name in row.dims}
    return [Row(row.spot, {name: row.dims[name] for name in order if name in row.dims}, row.options, row.label) for row in rows]


def _listed(node: Node, folder: Path, problems: Problems) -> list[Map]:
    if isinstance(node, Seq):
        if not node.items:
            problems.add(node.spot, "points", "an empty list: give at least one shape")
        for item in node.items:
            if not isinstance(item, Map) or not item.items:
                what = "an empty mapping" if isinstance(item, Map) else describe(item)
                problems.add(item.spot, "points", f"a point is a mapping such as {{m: 4096, n: 4096, k: 4096}}, not {what}")
        return [item for item in node.items if isinstance(item, Map) and item.items]
    kind = next(iter(node.items), "") if isinstance(node, Map) and len(node.items) == 1 else ""
    if not isinstance(node, Map) or kind not in ("csv", "table"):
        problems.add(node.spot, "points", f"needs a list of shapes, {{csv: FILE}} or {{table: TEXT}}{valid_names(kind, ('csv', 'table'))}")
        return []
    value = node.items[kind].value
    if kind == "table":
        if isinstance(value, Scalar):
            return _table(value.text, Spot(value.spot.file, value.spot.line + 1), problems)
        problems.add(value.spot, kind, f"needs lines of text, not {describe(value)}")
    elif (name := word(value, kind, problems)) is not None:
        file = str(folder / name)
        return _table(read_text(folder / name, value.spot, kind, problems, file), Spot(file, 1), problems)
    return []


def _table(text: str, start: Spot, problems: Problems) -> list[Map]:
    """Lines of comma-separated values under a header, as mappings. An empty cell gives nothing."""
    lines = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    header: list[str] = []
    maps: list[Map] = []
    before = len(problems)
    if text.count(",") + text.count("\n") > MAX_CELLS:
        problems.add(start, "header", f"more than {MAX_CELLS} values")
        return []
    try:
        for cells in lines:
            spot = Spot(start.file, start.line + lines.line_num - 1)
            values = [cell.strip() for cell in cells]
            if not any(values):
                continue
            if not header:
                header = values
                if why := _header_problem(header):
                    problems.add(spot, "header", why)
                    return []
            elif len(values) == 1 < len(header) and (why := _separated(cells[0], ";\t|")):
                problems.add(spot, "row", why)
                return []
            elif len(values) != len(header):
                problems.add(spot, "row", f"{len(values)} values under {len(header)} names")
            else:
                items = {name: Item(spot, Scalar(spot, value, True)) for name, value in zip(header, values, strict=True) if value}
                maps.append(Map(spot, items, len(items)))
    except csv.Error as error:
        problems.add(Spot(start.file, start.line + max(lines.line_num, 1) - 1), "row", f"cannot be read: {error}")
    if not maps and len(problems) == before:
        problems.add(start, "header", "no shapes: needs a header such as m,n,k and a line for each shape")
    return maps


def _header_problem(header: Sequence[str]) -> str | None:
    """Why these cannot be the names of a table's columns, or None."""
    for name in header:
        if why := _separated(name, ";\t|" if len(header) > 1 else ";\t| "):
            return why
    if any(re.fullmatch(r"[+-]?[\d.]+", name) for name in header):
        return "holds numbers where names belong: put a line such as m,n,k above it"
    if len(set(header)) < len(header) or "" in header or len(header) > MAX_COLUMNS:
        return f"needs up to {MAX_COLUMNS} names, each once"
    return next((why for name in header if (why := dim_name_problem(name, {}))), None)


def _separated(cell: str, by: str) -> str | None:
    """What to do about a cell that is a whole line, its values separated by one of these characters; None for any other cell."""
    found = next((character for character in by if character in cell), None)
    return None if found is None else f"values are separated by {SEPARATORS[found]}, not by commas: save it with commas"


def _row(node: Map, options: Mapping[str, Option], reserved: Mapping[str, object], problems: Problems) -> Row | None:
    dims: dict[str, int | None] = {}
    own: dict[str, str | None] = {}
    label: str | None = ""
    for key, item in node.items.items():
        if key in options:
            own[key] = chosen(item.value, key, options[key].choices, problems)
        elif key == "label":
            label = word(item.value, key, problems)
        elif why := dim_name_problem(key, reserved):
            problems.add(item.spot, key, why)
            dims[key] = None
        else:
            dims[key] = integer(item.value, key, problems)
    if label is None or None in dims.values() or None in own.values():
        return None
    return Row(node.spot, {k: v for k, v in dims.items() if v}, {k: v for k, v in own.items() if v}, label)


def model_names() -> list[str]:
    """Models of configs/models."""
    return sorted(path.stem for path in MODELS.glob("*.yaml"))


def model_rows(node: Node, folder: Path, problems: Problems) -> list[Row]:
    """A row for each layer of each model: n and k of its weight, and a label such as `llama3_70b.qkv`. The tokens make m."""
    models = [find_model(name, folder, node.spot, "shapes_from", problems) for name in choices(node, "shapes_from", (), problems)]
    return [
        Row(node.spot, {"n": layer.n, "k": layer.k}, {}, f"{model.name}.{layer.name}")
        for model in models
        if model
        for layer in model.layers
    ]


@dataclass(frozen=True)
class Layer:
    """A linear layer: weight (n, k), `count` of them in the model."""

    name: str
    n: int
    k: int
    count: int


@dataclass(frozen=True)
class Model:
    """A model's architecture, and the linear layers that it makes."""

    name: str
    architecture: Architecture
    layers: tuple[Layer, ...]


def find_model(name: str, folder: Path, spot: Spot, key: str, problems: Problems) -> Model | None:
    """A model of configs/models, or of a Hugging Face config.json whose path is relative to `folder`; None where it is wrong, which is
    noted at `spot` or, in a configuration, where it stands."""
    if name in model_names():
        return read_model(name)
    if not name.endswith(".json") and "/" not in name:
        problems.add(spot, key, f"unknown model {quote(name)}{valid_names(name, model_names())}")
        return None
    path = folder / name
    root = read_yaml(read_text(path, spot, key, problems), str(path), problems, "model")
    architecture = read_config(root, problems)
    return made_model(path.parent.name if path.stem == "config" and path.parent.name else path.stem, architecture) if architecture else None


def made_model(name: str, architecture: Architecture) -> Model:
    """The model with the layers that follow from its architecture."""
    return Model(name, architecture, tuple(Layer(one.name, one.n, one.k, one.count) for one in architecture.linears()))


@lru_cache
def read_model(name: str) -> Model:
    """A model of configs/models. Raises SweepError where its file is wrong."""
    problems = Problems()
    path = MODELS / f"{name}.yaml"
    root = read_yaml(read_text(path, Spot(str(path), 1), "model", problems), str(path), problems, "model")
    known_keys(root, MODEL_KEYS, "a model", problems)
    numbers = root.items["architecture"].value if "architecture" in root.items else Map(root.spot, {}, 1)
    if not isinstance(numbers, Map):
        problems.fail(numbers.spot, "architecture", f"needs a mapping of keys, not {describe(numbers)}")
    architecture = read_architecture(numbers, "architecture.", problems)
    listed = root.items["layers"].value if "layers" in root.items else Seq(root.spot, (), 1)
    layers = [layer for item in (listed.items if isinstance(listed, Seq) else ()) for layer in _layer(item, problems)]
    if "layers" in root.items and not layers:
        problems.add(listed.spot, "layers", "needs a list of {name, n, k, count}")
    problems.check()
    if architecture is None:
        raise AssertionError("an architecture that is None was noted as a problem")
    return Model(name, architecture, tuple(layers)) if layers else made_model(name, architecture)


def _layer(node: Node, problems: Problems) -> list[Layer]:
    if not isinstance(node, Map) or set(node.items) != {"name", "n", "k", "count"}:
        problems.add(node.spot, "layers", "a layer has name, n, k and count")
        return []
    name = word(node.items["name"].value, "name", problems)
    n, k, count = (integer(node.items[key].value, key, problems) for key in ("n", "k", "count"))
    return [Layer(name, n, k, count)] if name and n and k and count else []
