"""The filters of an entry: `where`, and the conditions and mappings of `exclude`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benches.sweep.filters import Where, WhereError, parse_where
from benches.sweep.given import Given
from kernels.precisions import PRECISIONS
from kernels.strict_yaml.nodes import Item, Map, Scalar, Seq, describe
from kernels.strict_yaml.problems import quote, valid_names
from kernels.strict_yaml.values import choices, integer, known_keys

MAX_FILTERS = 100  # parts of where and exclude together, each tried on every point at about 0.1 µs

Match = Mapping[str, Mapping[str | int, None]]  # values of each key: a set that keeps its order, so that `resolved` is always the same


@dataclass(frozen=True)
class Filters:
    """Conditions that a point must meet, and those that exclude it."""

    wheres: tuple[Where, ...]
    excludes: tuple[Where, ...]
    matches: tuple[Match, ...]  # of `exclude` too: mappings of keys to values

    def keep(self, dims: Mapping[str, int]) -> bool:
        """Whether a shape meets the conditions. Raises ZeroDivisionError where one divides by a difference that is 0."""
        return all(where.test(dims) for where in self.wheres) and not any(where.test(dims) for where in self.excludes)

    def drop(self, selected: Mapping[str, str | int | None]) -> bool:
        """Whether a mapping of `exclude` matches a point, given by its options, dims, implementation and precision."""
        for match in self.matches:  # plain loops: this runs 100 times for each of 20,000 points
            for key, values in match.items():
                if selected.get(key) not in values:
                    break
            else:
                return True
        return False


def read_filters(given: Given, names: set[str]) -> Filters:
    """Returns the filters of an entry with dims of these names; mistakes are noted."""
    wheres = _conditions(given, "where", names)
    excludes = _conditions(given, "exclude", names)
    matches = [_match(given, node, names) for node in given.each("exclude") if isinstance(node, Map)]
    if sum(w.parts for w in (*wheres, *excludes)) + sum(map(len, matches)) > MAX_FILTERS:
        given.problems.add(given.node.spot, "exclude", f"where and exclude together have more than {MAX_FILTERS} parts")
    return Filters(wheres, excludes, tuple(matches))


def _conditions(given: Given, key: str, names: set[str]) -> tuple[Where, ...]:
    found = []
    for node in given.each(key):
        if isinstance(node, Scalar):
            found += _condition(given, node, key, names)
        elif key == "where" or isinstance(node, Seq):
            given.problems.add(node.spot, key, f"needs a condition such as m >= k, not {describe(node)}")
    return tuple(found)


def _condition(given: Given, node: Scalar, key: str, names: set[str]) -> list[Where]:
    try:
        where = parse_where(node.text, names)
    except WhereError as error:
        given.problems.add(node.spot, key, f"{quote(node.text)}: {error}")
        return []
    unknown = [name for name in where.names if name not in names]
    for name in unknown if names else ():  # without any dim, that is the mistake
        given.problems.add(node.spot, key, f"{quote(node.text)}: unknown dim {quote(name)}{valid_names(name, sorted(names))}")
    return [] if unknown else [where]


def _match(given: Given, node: Map, names: set[str]) -> Match:
    valid = ("impl", "precision", *given.options, *sorted(names))
    known_keys(node, valid, "exclude", given.problems)
    if not node.items:
        given.problems.add(node.spot, "exclude", "an empty mapping would match every point")
    return {key: dict.fromkeys(_match_values(given, key, item, names)) for key, item in node.items.items() if key in valid}


def _match_values(given: Given, key: str, item: Item, names: set[str]) -> Sequence[str | int]:
    if key in names:
        nodes = item.value.items if isinstance(item.value, Seq) else (item.value,)
        return [size for node in nodes if (size := integer(node, key, given.problems)) is not None]
    valid = {"impl": given.impls, "precision": tuple(PRECISIONS)}.get(key)
    return choices(item.value, key, given.options[key].choices if valid is None else valid, given.problems)
