"""Takes a question's keys out of its YAML and writes down each value with where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from kernels.strict_yaml.nodes import Map, Node, Scalar, describe
from kernels.strict_yaml.problems import Problems, Spot, valid_names
from kernels.strict_yaml.values import chosen, decimal
from reports.napkin.keys import KEYS, names

T = TypeVar("T")
Read = Callable[[Node, str, Problems], T | None]


@dataclass(frozen=True)
class Assumption:
    """A value that an answer rests on. `origin`: "line 7", or "default"."""

    key: str
    value: str
    origin: str
    means: str


class Reader:
    """A mapping of a question: the whole, or a group of keys such as `batch`."""

    def __init__(self, node: Map, problems: Problems, ask: str = "", group: str = "", taken: list[Assumption] | None = None):
        self.node = node
        self.problems = problems
        self.ask = ask
        self.group = group
        self.taken = [] if taken is None else taken

    def required(self, key: str, read: Read[T]) -> T | None:
        """None where it is missing or wrong, which is then noted."""
        if key not in self.node.items:
            self.problems.add(self.node.spot, self.full(key), f"missing: {KEYS[self.full(key)].means}")
            return None
        return self.optional(key, read)

    def value(self, key: str, read: Read[T]) -> T | None:
        """As `optional`, but a mistake where this kind of question needs the key and lacks it; None where it does not take the key."""
        known = KEYS[self.full(key)]
        if self.ask not in known.asks:
            return None
        return self.required(key, read) if self.ask in known.needed else self.optional(key, read)

    def optional(self, key: str, read: Read[T]) -> T | None:
        """As given, or the default of KEYS; None where it is wrong, or neither is there."""
        full = self.full(key)
        default = KEYS[full].default
        if key not in self.node.items and not default:
            return None
        node = self.node.items[key].value if key in self.node.items else Scalar(self.node.spot, str(default), True)
        value = read(node, full, self.problems)
        if value is not None:
            origin = f"line {node.spot.line}" if key in self.node.items else "default"
            self.taken.append(Assumption(full, _written(node), origin, KEYS[full].means))
        return value

    def part(self, key: str) -> Reader:
        """The group under `key`, empty where there is none; what is no mapping is noted."""
        item = self.node.items.get(key)
        node = item.value if item else Map(self.node.spot, {}, 1)
        if not isinstance(node, Map):
            self.problems.add(node.spot, key, f"needs a mapping of keys, not {describe(node)}; valid: {', '.join(names('', key))}")
            node = Map(node.spot, {}, 1)
        return Reader(node, self.problems, self.ask, key, self.taken)

    def known_keys(self) -> None:
        """Notes the keys that a question of this kind does not have."""
        valid = names(self.ask, self.group)
        for key, item in self.node.items.items():
            if key in names("", self.group) and key not in valid:
                self.problems.add(item.spot, self.full(key), f"{self.ask} does not use it")
            elif key not in valid:
                self.problems.add(item.spot, self.full(key), f"unknown key{valid_names(key, valid)}")

    def spot(self, key: str) -> Spot:
        """Where a key's value stands; where it would stand, if there is none."""
        item = self.node.items.get(key)
        return item.value.spot if item else self.node.spot

    def full(self, key: str) -> str:
        return f"{self.group}.{key}" if self.group else key


def _written(node: Node) -> str:
    """A value as a question writes it."""
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Map):
        return "{" + ", ".join(f"{key}: {_written(item.value)}" for key, item in node.items.items()) + "}"
    return "[" + ", ".join(map(_written, node.items)) + "]"


def one_of(valid: Iterable[str]) -> Read[str]:
    """Reads a word out of `valid`."""
    words = tuple(valid)
    return lambda node, key, problems: chosen(node, key, words, problems)


def looks_like_a_number(node: Node) -> bool:
    """Whether a model or the like is meant as a number, even if it is a wrong one; a path or a name is not."""
    if not isinstance(node, Scalar) or "/" in node.text or node.text.endswith(".json"):
        return False
    return not node.plain or decimal(node.text) is not None or node.text[:1] in "-+.0123456789"
