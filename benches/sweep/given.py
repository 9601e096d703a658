"""What one entry of a sweep's `sweeps:` list gives, each key looked up, before any value is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kernels.op import Op, Option
from kernels.registry import OPS
from kernels.strict_yaml.nodes import Item, Map, Node, Seq
from kernels.strict_yaml.problems import Problems, Spot
from kernels.strict_yaml.values import choices, chosen, known_keys, missing

KEYS = {  # of an entry, besides its op's options; what each holds, which the reference pages print
    "op": "The op, which must be given.",
    "impl": "An implementation or a list of them. Default: all of the op.",
    "precision": "A precision or a list of them. Default: all; a precision that an implementation cannot do is `unsupported`.",
    "dims": "A mapping of axes, whose product the points are. An axis is a size, a list, `{pow2: [lo, hi]}` for the powers of two, or "
    "`{range: [start, stop, step]}` with stop included.",
    "points": "Listed shapes: a list of mappings of dims, options and a `label`; `{csv: FILE}`, a file beside the YAML (UTF-8, commas, the "
    "names in the first line); or `{table: TEXT}`, the same inside the YAML. With `dims` each shape is combined with all points of the "
    "axes.",
    "shapes_from": "A model of configs/models or a list of them: the points are its layers as matmuls, in layout `nt`, with "
    "`dims: {tokens: …}` for their rows.",
    "where": "A comparison, or a list of them, that every point must meet, over dims and integers: `m >= k and n % 16 == 0`.",
    "exclude": "Mappings of keys to values, or comparisons: a point that meets one of them is left out.",
}
MAX_DIMS = 32
IMPORTED = "is it in a file for --import?"  # asked where a sweep names an op or an implementation that is not known


def every_option() -> dict[str, Option]:
    """The options of all ops, those of imported ones among them."""
    return {name: option for op in OPS.values() for name, option in op.options.items()}


def every_impl() -> tuple[str, ...]:
    """The names of all ops' implementations."""
    return tuple(dict.fromkeys(name for op in OPS.values() for name in op.impls))


@dataclass(frozen=True)
class Given:
    """An entry's known keys, the defaults merged in. Where the op is unknown, the implementations and options of every op are valid, so
    that they are not reported as further mistakes. Mistakes in values are noted in `problems`."""

    node: Map
    op: Op | None
    impls: tuple[str, ...]
    options: Mapping[str, Option]
    items: Mapping[str, Item]
    folder: Path  # of the sweep's file
    problems: Problems

    @property
    def usual_impls(self) -> tuple[str, ...]:
        """The implementations of an entry that names none."""
        return tuple(name for name in self.impls if not (self.op and self.op.impls[name].on_request))

    @cached_property
    def reserved(self) -> Mapping[str, None]:
        """Names that no dim can have."""
        return dict.fromkeys((*KEYS, *self.options, "label"))

    @cached_property
    def dims(self) -> Mapping[str, Item]:
        """The items of `dims`; empty where that is not a mapping or has more than MAX_DIMS items."""
        node = self.items["dims"].value if "dims" in self.items else None
        return node.items if isinstance(node, Map) and len(node.items) <= MAX_DIMS else {}

    @cached_property
    def spots(self) -> Mapping[str, Spot]:
        """Where each key and dim is written."""
        return {name: item.spot for items in (self.items, self.dims) for name, item in items.items()}

    def words(self, key: str, valid: Iterable[str]) -> tuple[str, ...]:
        """The values of a key; none where it is not given."""
        hint = IMPORTED if key == "impl" else ""
        return choices(self.items[key].value, key, valid, self.problems, hint) if key in self.items else ()

    def each(self, key: str) -> tuple[Node, ...]:
        """The nodes of a key that takes one value or a list."""
        if key not in self.items:
            return ()
        node = self.items[key].value
        return node.items if isinstance(node, Seq) else (node,)


def read_given(node: Map, defaults: Map | None, folder: Path, problems: Problems) -> Given:
    """Returns what an entry gives; unknown keys and an unknown op are noted."""
    given = {**(defaults.items if defaults else {}), **node.items}
    if "op" not in given:
        missing(node.spot, "op", OPS, problems)
    name = chosen(given["op"].value, "op", OPS, problems, IMPORTED) if "op" in given else None
    op = OPS[name] if name else None
    options = op.options if op else every_option()
    known_keys(node, (*KEYS, *options), name or "an entry", problems)
    # A default option goes to the ops that have it.
    items = {key: item for key, item in given.items() if key in KEYS or key in options}
    return Given(node, op, tuple(op.impls) if op else every_impl(), options, items, folder, problems)
