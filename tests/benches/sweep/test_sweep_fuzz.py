"""Whatever a file holds, reading it ends in points or in a SweepError, soon."""

import re
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from benches.sweep.load import SweepError, load_sweep

pytestmark = pytest.mark.slow

# Words that lead deep into the reader, and values that do not belong anywhere.
WORDS = [
    *("name", "sweeps", "defaults", "max_points", "op", "impl", "precision", "dims", "points", "shapes_from", "where", "exclude"),
    *("csv", "table", "pow2", "range", "tokens", "m", "n", "k", "b", "layout", "rhs", "function", "to", "equation", "data", "label"),
    *("matmul", "elementwise", "einsum", "torch", "triton", "bf16", "fp8_e4m3", "nt", "shared", "sliced", "add", "cast", "none"),
    *("llama3_8b", "b i, b j -> i j", "... i -> i", "m >= k", "m % n == 0", "m,n,k\n1,2,3", "<<", "", "é", "a\nb", "/dev/zero", "\x1b"),
]
SCALARS = st.one_of(
    st.sampled_from(WORDS), st.integers(-2, 9), st.integers(), st.booleans(), st.none(), st.floats(), st.dates(), st.text(max_size=5)
)
KEYS = st.one_of(st.sampled_from(WORDS), st.sampled_from(WORDS), st.integers(0, 3), st.text(max_size=3))
TREES = st.recursive(SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=5)), max_leaves=20)
AXES = st.one_of(
    st.integers(1, 4),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.builds(lambda p, q: {"pow2": [2**p, 2 ** (p + q)]}, st.integers(0, 3), st.integers(0, 3)),
    st.builds(lambda start, more, step: {"range": [start, start + more, step]}, st.integers(1, 4), st.integers(0, 4), st.integers(1, 3)),
)
RIGHT = st.fixed_dictionaries(
    {
        "op": st.just("matmul"),
        "precision": st.sampled_from(["bf16", ["fp16", "fp32"]]),
        "impl": st.sampled_from(["torch", ["torch", "triton"]]),
        "dims": st.fixed_dictionaries({"m": AXES, "n": AXES, "k": AXES}, optional={"b": AXES}),
    },
    optional={"layout": st.sampled_from(["nt", ["nn", "tt"]]), "data": st.sampled_from(["normal", ["zeros", "integers"]])},
)
# A right entry with one value replaced or one key added: deeper than any random tree comes.
NEARLY_RIGHT = st.builds(lambda entry, key, value: {"sweeps": [{**entry, key: value}]}, RIGHT, st.sampled_from(WORDS), TREES)


def check_read(data: bytes) -> int | None:
    """How many points, or None for a SweepError; anything else goes up. Asserts that it is quick and that every problem is a line."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "s.yaml"
        path.write_bytes(data)
        start = time.thread_time()
        try:
            count, problems = len(load_sweep(path).points), []
        except SweepError as error:
            count, problems = None, error.problems
        assert time.thread_time() - start < 5  # of CPU time: the machine may be busy with something else
    assert count or problems
    for problem in problems:
        assert re.fullmatch(r"[^:]+:[0-9]+: .+", problem.removeprefix(folder))
        assert problem.isprintable()
    return count


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes):
    check_read(data)


@given(st.text(max_size=200))
def test_any_text(text: str):
    check_read(text.encode("utf-8", "surrogatepass"))


@given(
    st.lists(st.sampled_from([*WORDS, *"{}[]:,-?*&!|>'\"%@#\n \t", "\n  ", ": ", "- ", "&a ", "*a", "!!int "]), max_size=60).map("".join)
)
def test_any_yaml_like_text(text: str):
    check_read(text.encode())


@given(TREES)
def test_any_tree(tree: object):
    check_read(yaml.safe_dump(tree, allow_unicode=True).encode())


@settings(max_examples=300)
@given(NEARLY_RIGHT)
def test_any_nearly_right_sweep(tree: object):
    check_read(yaml.safe_dump(tree).encode())


def length(axis: object) -> int:
    if isinstance(axis, dict):
        ((kind, bounds),) = axis.items()
        return (bounds[1] // bounds[0]).bit_length() if kind == "pow2" else len(range(bounds[0], bounds[1] + 1, bounds[2]))
    return len(set(axis)) if isinstance(axis, list) else 1


@given(RIGHT)
def test_a_sweep_without_filters_has_the_product_of_its_axes(entry: dict[str, object]):
    expected = 1
    for key, value in {**entry, **entry["dims"]}.items():  # type: ignore[dict-item]
        expected *= 1 if key == "dims" else length(value)
    assert check_read(yaml.safe_dump({"sweeps": [entry]}).encode()) == expected
