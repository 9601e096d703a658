"""The names of test files and functions that benches/ had for each op before test_points.py held every point, and what to use instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch

from kernels.registry import OPS

FOLDER = "benches"
POINTS = f"{FOLDER}/test_points.py"
TEST = "test_point"
NAME = rf"test_({'|'.join(OPS)})"
FILE = re.compile(rf"{FOLDER}/{NAME}\.py(?:::\w+(?:\[(.*)\])?)?", re.DOTALL)
WORD = re.compile(rf"\b{NAME}\b")
OF_A_POINT = re.compile(rf"test_(?:point|(?P<op>\w+))\[(?P<point>(?(op)(?P=op)|(?:{'|'.join(OPS)}))-.+)\]", re.DOTALL)


def named(arguments: Iterable[str]) -> str | None:
    """Returns what to use instead of the former files and tests among paths and test ids relative to the root; None without any."""
    found = [match.groups() for argument in arguments if (match := FILE.fullmatch(argument))]
    ops, points = unique(op for op, _ in found), unique(point for _, point in found if point)
    return " or ".join([marker(ops), *(f"'{POINTS}::{TEST}[{point}]'" for point in points)]) if found else None


def left_out(arguments: Iterable[str], patterns: Sequence[str] = ()) -> str | None:
    """Returns what to use instead of ignoring or deselecting former files, whose names or glob patterns they are; None without any."""
    ops = [match[1] for argument in arguments if (match := FILE.fullmatch(argument))]
    ops += [op for pattern in patterns if not fnmatch(POINTS, pattern) for op in OPS if fnmatch(f"{FOLDER}/test_{op}.py", pattern)]
    return marker(unique(ops), "not ") if ops else None


def in_words(expression: str) -> str | None:
    """Returns what to use instead of a -k expression that holds former names; None where it holds none."""
    return "-k '" + WORD.sub(r"\1", expression) + "'" if WORD.search(expression) else None


def point_of(test: str) -> str | None:
    """Returns the point that a test of this suite measured, by the test's name, present or former; None for a test of another suite."""
    match = OF_A_POINT.fullmatch(test)
    return match["point"] if match else None


def unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def marker(ops: Sequence[str], negated: str = "") -> str:
    """Returns the option that selects these ops, or all others."""
    if len(ops) == 1 and not negated:
        return f"-m {ops[0]}"
    together = " or ".join(ops)
    return f"-m '{negated}({together})'" if negated and len(ops) > 1 else f"-m '{negated}{together}'"
