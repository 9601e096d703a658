"""Conditions on dims, such as `m >= k and m * n % 16 == 0`: parsed with a whitelist and turned into closures, never evaluated as code.

Grammar: a condition is a comparison (chains as in `1 < m <= n`), or conditions joined by `and`, `or`, `not`. Its terms are dims,
integer literals and + − * // % ** of them. Text, count of parts and size of every possible value are bounded, so that testing a
point takes microseconds.
"""

from __future__ import annotations

import ast
import keyword
import operator
import re
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

MAX_TEXT = 300
MAX_PARTS = 100
MAX_BITS = 2048  # of any value on the way
DIM_BITS = 32
OPERATORS = ("and", "or", "not")
CANNOT_BE_READ = "cannot be read; write a condition such as m >= k"

Number = Callable[[Mapping[str, int]], int]
Truth = Callable[[Mapping[str, int]], bool]

ARITHMETIC: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
COMPARISONS: dict[type[ast.cmpop], Callable[[int, int], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


class WhereError(ValueError):
    """A text that is no condition."""


@dataclass(frozen=True)
class Where:
    """A condition. `test(dims)` tells whether it holds; ZeroDivisionError where it divides by a difference that is 0."""

    text: str
    names: tuple[str, ...]  # the dims it asks for
    parts: int  # what testing it costs, about 0.1 µs each
    test: Truth


def parse_where(text: str, dims: Collection[str] = ()) -> Where:
    """Returns the condition. Raises WhereError for anything but one of the grammar above.

    dims: names that it may hold, also those that Python's parser would read as something else: `lambda`, `in`, or `µ`, which it
    turns into another letter.
    """
    if len(text) > MAX_TEXT:
        raise WhereError(f"longer than {MAX_TEXT} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "1is" and the like: a warning in 3.12, an error below
            replaced, originals = _stand_ins(text, dims)
            tree = ast.parse(replaced, mode="eval").body
        parts = sum(isinstance(node, ast.expr | ast.operator) for node in ast.walk(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        taken = next((name for name in OPERATORS if name in dims), None)
        raise WhereError(f"{CANNOT_BE_READ}; {taken!r} is an operator here: rename the dim" if taken else CANNOT_BE_READ) from None
    if parts > MAX_PARTS:
        raise WhereError(f"has more than {MAX_PARTS} parts")
    named = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    for node in named:
        node.id = originals.get(node.id, node.id)
    names = tuple(dict.fromkeys(node.id for node in named))
    return Where(text, names, parts, _truth(tree))


def _stand_ins(text: str, dims: Collection[str]) -> tuple[str, dict[str, str]]:
    """Returns the text with other names for dims that Python's parser does not take as they are, and the dims by those names."""
    prefix = "d"
    while prefix in text:
        prefix += "_"
    awkward = [name for name in dims if name not in OPERATORS and (keyword.iskeyword(name) or not name.isascii())]
    names = {name: f"{prefix}{i}" for i, name in enumerate(awkward)}
    replaced = re.sub(r"(?<!\w)[^\W\d]\w*", lambda found: names.get(found[0], found[0]), text)
    return replaced, {name: dim for dim, name in names.items()}


def _truth(node: ast.expr) -> Truth:
    if isinstance(node, ast.BoolOp):
        tests = tuple(_truth(value) for value in node.values)
        if isinstance(node.op, ast.And):
            return lambda dims: all(test(dims) for test in tests)
        return lambda dims: any(test(dims) for test in tests)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        test = _truth(node.operand)
        return lambda dims: not test(dims)
    if isinstance(node, ast.Compare):
        return _comparison(node)
    raise WhereError(f"{_show(node)} is not a comparison")


def _comparison(node: ast.Compare) -> Truth:
    terms = [_number(term)[0] for term in (node.left, *node.comparators)]
    links = []
    for op, left, right in zip(node.ops, terms, terms[1:], strict=False):
        if type(op) not in COMPARISONS:
            raise WhereError(f"{_show(node)}: compare with <, <=, >, >=, == or !=")
        links.append((COMPARISONS[type(op)], left, right))
    return lambda dims: all(compare(left(dims), right(dims)) for compare, left, right in links)


def _number(node: ast.expr) -> tuple[Number, int]:
    """A term, and the most bits that its value can have."""
    if isinstance(node, ast.Name):
        name = node.id
        return lambda dims: dims[name], DIM_BITS
    if isinstance(node, ast.Constant) and type(node.value) is int:
        value = node.value
        return lambda dims: value, _bounded(value.bit_length(), node)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        number, bits = _number(node.operand)
        return lambda dims: -number(dims), bits
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        return _arithmetic(node)
    raise WhereError(f"{_show(node)} is not a dim, an integer, or a sum, difference, product, // , % or ** of them")


def _arithmetic(node: ast.BinOp) -> tuple[Number, int]:
    apply = ARITHMETIC[type(node.op)]
    left, left_bits = _number(node.left)
    right, right_bits = _number(node.right)
    if isinstance(node.op, ast.Pow):
        if not isinstance(node.right, ast.Constant):  # a negative power would be a fraction, a large one would not end
            raise WhereError(f"{_show(node)}: the power must be an integer literal")
        bits = left_bits * right({})
    elif isinstance(node.op, ast.Mult):
        bits = left_bits + right_bits
    else:
        bits = max(left_bits, right_bits) + 1
    return lambda dims: apply(left(dims), right(dims)), _bounded(bits, node)


def _bounded(bits: int, node: ast.expr) -> int:
    if bits > MAX_BITS:
        raise WhereError(f"{_show(node)} can become larger than 2**{MAX_BITS}")
    return bits


def _show(node: ast.expr) -> str:
    text = ast.unparse(node)
    return repr(text if len(text) <= 40 else text[:39] + "…")
