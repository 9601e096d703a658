"""Conditions: what they mean, what is refused, and that nothing else can happen."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benches.sweep.filters import MAX_PARTS, WhereError, parse_where

DIMS = {"m": 8, "n": 3, "k": 4096}

HOLDS = {
    "m >= n": True,
    "m < n": False,
    "m == 8 and n != 3": False,
    "m == 8 or n != 3": True,
    "not m == 8": False,
    "1 < n <= m < k": True,
    "1 < n < 3": False,
    "m * n + 2 == 26": True,
    "k // 1000 == 4 and k % 1000 == 96": True,
    "k == 2**12": True,
    "-m < 0": True,
    "(m + n) * 2 == 22": True,
    "m - n - 1 == 4": True,
    "k > 1_000": True,
}


@pytest.mark.parametrize("text", HOLDS)
def test_meaning(text: str):
    assert parse_where(text).test(DIMS) is HOLDS[text]


def test_names_are_those_asked_for_once_each():
    assert parse_where("m >= k and k > n // m").names == ("m", "k", "n")


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("lambda >= 8 and class < 4", True),
        ("in % 3 == 0 and not in > 3", True),
        ("None == True", False),
        ("not (is == if or is < if)", True),
        ("α * 2 == β", True),
        ("µ == 5 and ﬁ == 7", True),  # which Python's parser takes for μ and fi
        ("d0 == 1 and lambda == 8", True),
        ("m > 0x10 and lambda * 1_0 == 80", True),
    ],
)
def test_dims_may_have_any_name_that_an_equation_takes(text: str, holds: bool):
    dims = {"lambda": 8, "class": 3, "in": 3, "None": 1, "True": 2, "is": 2, "if": 1, "α": 4, "β": 8, "µ": 5, "ﬁ": 7, "d0": 1, "m": 17}
    where = parse_where(text, dims)
    assert where.test(dims) is holds
    assert set(where.names) <= set(dims)


@pytest.mark.parametrize(
    ("text", "dims", "words"),
    [
        ("and > 1", ("and", "m"), "cannot be read; write a condition such as m >= k; 'and' is an operator here: rename the dim"),
        ("m > not", ("m", "not"), "cannot be read; write a condition such as m >= k; 'not' is an operator here: rename the dim"),
        ("lambda > 1", ("m",), "cannot be read; write a condition such as m >= k"),
        (
            "lambda > class.x",
            ("lambda", "class"),
            "'class.x' is not a dim, an integer, or a sum, difference, product, // , % or ** of them",
        ),
    ],
)
def test_names_that_cannot_stand_in_a_condition(text: str, dims: tuple[str, ...], words: str):
    with pytest.raises(WhereError) as error:
        parse_where(text, dims)
    assert str(error.value) == words


REFUSED = {
    "m": "'m' is not a comparison",
    "m % 2": "'m % 2' is not a comparison",
    "": "cannot be read; write a condition such as m >= k",
    "m >=": "cannot be read; write a condition such as m >= k",
    "m >= k; n": "cannot be read; write a condition such as m >= k",
    "m >= 1.5": "'1.5' is not a dim, an integer, or a sum, difference, product, // , % or ** of them",
    "m == True": "'True' is not a dim, an integer, or a sum, difference, product, // , % or ** of them",
    "m == 'x'": "\"'x'\" is not a dim, an integer, or a sum, difference, product, // , % or ** of them",
    "m / 2 > 1": "'m / 2' is not a dim, an integer, or a sum, difference, product, // , % or ** of them",
    "m << 2 > 1": "'m << 2' is not a dim, an integer, or a sum, difference, product, // , % or ** of them",
    "abs(m) > 1": "'abs(m)' is not a dim, an integer, or a sum, difference, product, // , % or ** of them",
    "m.real > 1": "'m.real' is not a dim, an integer, or a sum, difference, product, // , % or ** of them",
    "m in n": "'m in n': compare with <, <=, >, >=, == or !=",
    "m is n": "'m is n': compare with <, <=, >, >=, == or !=",
    "(m > 1) == (n > 1)": "'m > 1' is not a dim, an integer, or a sum, difference, product, // , % or ** of them",
    "__import__('os').system('true') == 0": (
        "\"__import__('os').system('true')\" is not a dim, an integer, or a sum, difference, product, // , % or ** of them"
    ),
    "(lambda: m)() > 1": "'(lambda: m)()' is not a dim, an integer, or a sum, difference, product, // , % or ** of them",
    "m ** n > 1": "'m ** n': the power must be an integer literal",
    "m ** (0 - 1) > 1": "'m ** (0 - 1)': the power must be an integer literal",
    "m ** 99999 > 1": "'m ** 99999' can become larger than 2**2048",
    "((m ** 60) ** 60) ** 60 > 1": "'(m ** 60) ** 60' can become larger than 2**2048",
    "m > 1 and " * 60 + "m": "longer than 300 characters",
    "-" * 200 + "m > k": f"has more than {MAX_PARTS} parts",
    "+".join("m" * 90) + " > k": f"has more than {MAX_PARTS} parts",
    "m > \0": "cannot be read; write a condition such as m >= k",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str):
    with pytest.raises(WhereError) as error:
        parse_where(text)
    assert str(error.value) == REFUSED[text]


def test_division_by_zero_is_told_to_the_caller():
    with pytest.raises(ZeroDivisionError):
        parse_where("m % (n - 3) == 0").test(DIMS)


PIECES = st.sampled_from(
    ["m", "n", "q", "1", "0", "2**31", "(", ")", ">=", "<", "==", "and", "or", "not", "+", "-", "*", "//", "%", "**", "5"]
)


@given(st.one_of(st.text(max_size=400), st.lists(PIECES, max_size=60).map(" ".join)))
def test_any_text_is_a_condition_or_an_error_and_quick(text: str):
    start = time.thread_time()
    with suppress(WhereError, ZeroDivisionError):  # the two errors that a condition may be; any other fails the test
        where = parse_where(text)
        assert isinstance(where.test(dict.fromkeys(where.names, 2**31)), bool)
    assert time.thread_time() - start < 0.5  # milliseconds, of CPU time: the machine may be busy with something else
