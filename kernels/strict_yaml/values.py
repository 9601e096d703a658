"""Values of a YAML file: integers, numbers, axes and words. Each reader records what is wrong and then returns None (or leaves the bad part
out)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from kernels.strict_yaml.nodes import Item, Map, Node, Scalar, Seq, describe
from kernels.strict_yaml.problems import Problems, Spot, quote, valid_names

MAX_DIM = 2**31  # what a 32-bit index of the kernels can count
MAX_WORD = 300  # characters of an option's value or a label: they go into ids, 100,000 of them
DIGITS = re.compile(r"-?(0|[1-9][0-9]*(_[0-9]+)*)")  # no leading zero: YAML reads 010 as eight
MAX_DIGITS = 20  # underscores among them; more is too large without looking
AXES = {"pow2": "{pow2: [lo, hi]}", "range": "{range: [start, stop, step]}"}
LEAST, MOST = 1e-12, 1e30  # of a number: results computed from it stay well within a float's range
EMPTY = ("", "~", "null", "Null", "NULL")


def integer(node: Node, key: str, problems: Problems, low: int = 1, high: int = MAX_DIM) -> int | None:
    """An integer from `low` to `high`."""
    if not isinstance(node, Scalar):
        why = f"needs an integer, not {describe(node)}"
    elif node.plain and node.text in EMPTY:
        why = "needs an integer, but no value is given"
    elif not DIGITS.fullmatch(node.text):
        why = f"{quote(node.text)} is not an integer (write all digits, as in 4096)"
    elif not node.plain:
        why = f"{quote(node.text)} is text: write the integer without quotes"
    elif node.text.startswith("-") or (len(node.text) <= MAX_DIGITS and int(node.text) < low):
        why = f"{quote(node.text)} is too small: at least {low}"
    elif len(node.text) > MAX_DIGITS or int(node.text) > high:
        why = f"{quote(node.text)} is too large: at most {high}"
    else:
        return int(node.text)
    problems.add(node.spot, key, why)
    return None


def number(node: Node, key: str, problems: Problems, low: float = LEAST, high: float = MOST) -> float | None:
    """A number from `low` to `high`, in digits or as 70e9."""
    if not isinstance(node, Scalar):
        why = f"needs a number, not {describe(node)}"
    elif node.plain and node.text in EMPTY:
        why = "needs a number, but no value is given"
    elif not node.plain:
        why = f"{quote(node.text)} is text: write the number without quotes"
    elif (value := decimal(node.text)) is None:
        why = f"{quote(node.text)} is not a number (write it as 70e9, 0.5 or 1024)"
    elif value < low:
        why = f"{quote(node.text)} is too small: at least {low:g}"
    elif value > high:
        why = f"{quote(node.text)} is too large: at most {high:g}"
    else:
        return value
    problems.add(node.spot, key, why)
    return None


def decimal(text: str) -> float | None:
    """The value of a number written in digits or as 70e9; None for any other text."""
    if len(text) > 2 * MAX_DIGITS or not text[-1:].isdigit() or not text.isascii():  # float() accepts inf, nan and digits of other scripts
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def axis(node: Node, key: str, problems: Problems) -> Sequence[int]:
    """Sizes of a dim: an integer, a list of them, `{pow2: [lo, hi]}` or `{range: [start, stop inclusive, step]}`. Empty if wrong.

    A range is not written out: it may be too long, and is then counted and refused.
    """
    if isinstance(node, Map):
        return _made_axis(node, key, problems)
    if isinstance(node, Seq) and not node.items:
        problems.add(node.spot, key, "an empty axis: give at least one size")
    items = node.items if isinstance(node, Seq) else (node,)
    return tuple(size for item in items if (size := integer(item, key, problems)) is not None)


def _made_axis(node: Map, key: str, problems: Problems) -> Sequence[int]:
    kind, item = next(iter(node.items.items()), ("", Item(node.spot, node)))
    if len(node.items) != 1 or kind not in AXES:
        problems.add(node.spot, key, f"an axis is an integer, a list, {' or '.join(AXES.values())}{valid_names(kind, AXES)}")
        return ()
    parts = item.value.items if isinstance(item.value, Seq) else ()
    if len(parts) != AXES[kind].count(",") + 1:
        problems.add(item.spot, key, f"needs {AXES[kind]}")
        return ()
    numbers = [size for part in parts if (size := integer(part, key, problems)) is not None]
    if len(numbers) < len(parts):
        return ()
    low, high, *step = numbers
    not_power = [size for size in (low, high) if kind == "pow2" and size.bit_count() != 1]
    if low > high:
        problems.add(item.spot, key, f"an empty axis: {kind} from {low} to {high}")
    elif not_power:
        problems.add(item.spot, key, f"{not_power[0]} is not a power of two, as {AXES['pow2']} needs")
    elif step:
        return range(low, high + 1, step[0])
    else:
        return tuple(1 << power for power in range(low.bit_length() - 1, high.bit_length()))
    return ()


def word(node: Node, key: str, problems: Problems) -> str | None:
    """A single value as text, whatever YAML would make of it: `no` is "no" and 8 is "8"."""
    if not isinstance(node, Scalar):
        why = f"needs a single value, not {describe(node)}"
    elif not node.text:
        why = "nothing is given"
    elif len(node.text) > MAX_WORD or not node.text.isprintable():
        why = f"{quote(node.text)} must be one line of at most {MAX_WORD} characters"
    else:
        return node.text
    problems.add(node.spot, key, why)
    return None


def chosen(node: Node, key: str, valid: Iterable[str], problems: Problems, hint: str = "") -> str | None:
    """A word out of `valid`; any word if that is empty. hint: what else to do about a wrong one."""
    text = word(node, key, problems)
    names = tuple(valid)
    if text is None or not names or text in names:
        return text
    problems.add(node.spot, key, f"unknown {key} {quote(text)}{valid_names(text, names)}{hint and f'; {hint}'}")
    return None


def choices(node: Node, key: str, valid: Iterable[str], problems: Problems, hint: str = "") -> tuple[str, ...]:
    """A word or a list of them, each once. Bad ones are left out. hint: as `chosen` takes it."""
    names = tuple(valid)
    if isinstance(node, Seq) and not node.items:
        problems.add(node.spot, key, "an empty list: give at least one value")
    items = node.items if isinstance(node, Seq) else (node,)
    return tuple(dict.fromkeys(text for item in items if (text := chosen(item, key, names, problems, hint)) is not None))


def known_keys(node: Map, valid: Iterable[str], what: str, problems: Problems) -> None:
    """Notes the keys that a mapping should not have."""
    names = tuple(valid)
    for key, item in node.items.items():
        if key not in names:
            problems.add(item.spot, key, f"unknown key in {what}{valid_names(key, names)}")


def missing(spot: Spot, key: str, valid: Iterable[str], problems: Problems) -> None:
    """Notes that a key is not there."""
    names = ", ".join(valid)
    problems.add(spot, key, "missing" + (f"; valid: {names}" if names else ""))
