"""Lists in a line of text."""

from __future__ import annotations

import pytest

from kernels.listed import and_more, first_of


@pytest.mark.parametrize(("left", "expected"), [(-1, ""), (0, ""), (1, " and 1 more"), (1234, " and 1,234 more")])
def test_what_is_left_is_counted(left: int, expected: str) -> None:
    assert and_more(left) == expected


@pytest.mark.parametrize(
    ("names", "most", "expected"),
    [
        ([], 3, ""),
        (["a"], 3, "a"),
        (["a", "b", "c"], 3, "a, b, c"),
        (["a", "b", "c", "d"], 3, "a, b, c and 1 more"),
        (["a", "b"], 1, "a and 1 more"),
    ],
)
def test_the_first_are_named(names: list[str], most: int, expected: str) -> None:
    assert first_of(names, most) == expected
