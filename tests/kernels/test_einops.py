"""einops patterns: what is refused, what is a view, and costs, against the library itself."""

from __future__ import annotations

import warnings

import einops
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benches.correctness import verify
from benches.devices.tensors import TensorWorkload
from benches.timing.measure import gate
from kernels.einops_op.pattern import ADVICE, parse
from kernels.einops_op.spec import result
from kernels.einops_op.torch_impl import function
from kernels.op import Cost, OpError, Point
from kernels.registry import OPS
from kernels.support import Platform
from tests.tensor_memory import peak_bytes

OP = OPS["einops"]
CPU = Platform("cpu")


def point(pattern: str, dims: dict[str, int], reduction: str = "none", precision: str = "fp32") -> Point:
    return OP.point("torch", precision, dims, {"pattern": pattern, "reduction": reduction})


REFUSALS = [
    ("a b", "none", "needs one `->` between the operand's axes and the result's"),
    ("a -> a -> a", "none", "needs one `->`"),
    ("a a -> a", "sum", 'Indexing expression contains duplicate dimension "a"'),
    ("a (b -> a b", "none", "Imbalanced parentheses"),
    ("(a (b c)) -> a b c", "none", "Axis composition is one-level"),
    ("a-b -> a", "sum", "Unknown character '-'"),
    ("_a -> _a", "none", "Invalid axis identifier: _a"),
    ("... a -> a ...", "none", "`...` is not taken: name every axis"),
    ("a 2 -> a", "sum", "an axis needs a name, not a number"),
    ("-> ", "sum", "the operand has no axes"),
    ("a -> a b", "none", "'b' is on the right side only: einops.repeat is not supported"),
    ("a b -> a", "none", "'b' is on the left side only: name a reduction"),
    ("a b -> b a", "max", "reduction max has no axis to reduce"),
]


@pytest.mark.parametrize(("pattern", "reduction", "message"), REFUSALS)
def test_refusals_are_one_line_that_says_what_is_wrong(pattern: str, reduction: str, message: str) -> None:
    with pytest.raises(OpError) as error:
        point(pattern, {"a": 2, "b": 3, "c": 5} if "c" in pattern else {"a": 2, "b": 3}, reduction)
    assert str(error.value).startswith(f"pattern {pattern!r}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("error")
def test_axes_may_be_named_like_keywords_or_in_greek() -> None:
    parse.cache_clear()
    found = point("lambda (in α) -> in lambda α", {"lambda": 2, "in": 3, "α": 5})
    assert found.id == "einops-torch-fp32-lambda.in:α-in.lambda.α-2x3x5"
    operand = torch.arange(30.0).reshape(2, 15)
    warnings.filterwarnings("ignore", ADVICE)  # as in a worker: pytest undoes the filter that importing the implementation set
    assert torch.equal(function(found)(operand), operand.reshape(2, 3, 5).transpose(0, 1))


def test_dims_must_be_the_axes() -> None:
    with pytest.raises(OpError, match="missing dim w"):
        point("b (h w) -> b h w", {"b": 2, "h": 3})
    with pytest.raises(OpError, match="unknown dim 'x'"):
        point("b h -> h b", {"b": 2, "h": 3, "x": 1})


@pytest.mark.parametrize(
    ("pattern", "reduction", "id_"),
    [
        ("b (h w) c -> b c h w", "none", "einops-torch-fp32-b.h:w.c-b.c.h.w-2x3x5x7"),
        ("b h w c -> b c () 1", "mean", "einops-torch-fp32-b.h.w.c-b.c.1.1-2x3x5x7-mean"),
    ],
)
def test_ids_hold_no_parentheses(pattern: str, reduction: str, id_: str) -> None:
    assert point(pattern, {"b": 2, "h": 3, "w": 5, "c": 7}, reduction).id == id_


SIZES = {"b": 3, "h": 5, "w": 7, "c": 11}
ALL = 3 * 5 * 7 * 11
COSTS = [
    # pattern, reduction, flops, elements read, elements written, elements held
    ("b (h w) c -> b c h w", "none", 0, 0, 0, ALL),  # splits and permutes: strides say it
    ("b h w c -> b (h w) c", "none", 0, 0, 0, ALL),
    ("b h w c -> b (w h) c", "none", 0, ALL, ALL, 2 * ALL),  # no one stride steps through w, then h
    ("b h w c -> (b c) h w", "none", 0, ALL, ALL, 2 * ALL),
    ("b h w c -> b c", "sum", ALL, ALL, 33, ALL + 33),
    ("b h w c -> b c", "max", ALL, ALL, 33, ALL + 33),
    ("b h w c -> b c", "mean", ALL + 33, ALL, 33, ALL + 33),
    ("b h w c ->", "min", ALL, ALL, 1, ALL + 1),
]


@pytest.mark.parametrize(("pattern", "reduction", "flops", "read", "written", "held"), COSTS)
def test_cost_by_hand(pattern: str, reduction: str, flops: int, read: int, written: int, held: int) -> None:
    assert OP.cost(point(pattern, SIZES, reduction), "cpu") == Cost(flops, 4 * read, 4 * written, 4 * held)


@st.composite
def patterns(draw: st.DrawFn, reduces: bool) -> Point:
    """Up to five axes of 1 to 5, grouped at will on both sides, any of them left out on the right where it reduces."""
    axes = list("abcde"[: draw(st.integers(1, 5))])
    dims = {axis: draw(st.integers(1, 5)) for axis in axes}
    kept = draw(st.lists(st.sampled_from(axes), unique=True, max_size=len(axes) - 1)) if reduces else draw(st.permutations(axes))
    sides = [" ".join(draw(grouped(side))) for side in (axes, kept)]
    return point(" -> ".join(sides), dims, draw(st.sampled_from(["sum", "mean", "max", "min"])) if reduces else "none")


@st.composite
def grouped(draw: st.DrawFn, axes: list[str]) -> list[str]:
    """The axes in order, neighbours in parentheses or not, with dims of one element in between."""
    groups, rest = [], list(axes)
    while rest:
        size = draw(st.integers(1, len(rest)))
        groups.append(f"({' '.join(rest[:size])})" if size > 1 else rest[0])
        groups += ["()"] if draw(st.booleans()) else []
        rest = rest[size:]
    return groups


@pytest.mark.slow
@given(patterns(reduces=False))
@settings(max_examples=300)
def test_a_view_where_einops_gives_one_with_the_same_strides(made: Point) -> None:
    (x,) = OP.load("make_inputs")(made, "cpu", 1).operands
    got = einops.rearrange(x, made.options["pattern"], **made.dims)
    assert (got.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()) == OP.is_view(made)
    wanted = result(made)
    assert tuple(got.shape) == wanted.shape
    stepped = [(got.stride(i), wanted.strides[i]) for i, size in enumerate(got.shape) if size > 1]
    assert all(stride == expected for stride, expected in stepped)
    assert torch.equal(OP.load("reference")(made, (x,)), got.double())


@pytest.mark.slow
@given(patterns(reduces=True))
@settings(max_examples=200)
def test_reductions_are_those_of_einops(made: Point) -> None:
    inputs = OP.load("make_inputs")(made, "cpu", 1)
    got = einops.reduce(inputs.operands[0], made.options["pattern"], made.options["reduction"], **made.dims)
    verdict = verify(OP, made, got, inputs)
    assert verdict.ok, verdict.problem


FORMS = ("b (h w) c -> b c h w", "b h w c -> (b c) h w", "b h w c -> b (w h c)")
REDUCTIONS = ("sum", "max", "min")
SHAPES = [{axis: 1 + (7 * i + 11 * j) % 17 for j, axis in enumerate("bhwc")} for i in range(60)]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_memory_is_what_pytorch_allocates(precision: str) -> None:
    for i, dims in enumerate(SHAPES):
        form, reduction = FORMS[i % 3], REDUCTIONS[i % 3]
        for made in (point(form, dims, "none", precision), point("b h w c -> c b", dims, reduction, precision)):
            assert peak_bytes(made) == OP.cost(made, "cpu").memory_bytes, made.id


@pytest.mark.parametrize("precision", ["fp8_e4m3", "fp8_e5m2"])
@pytest.mark.parametrize("reduction", ["sum", "mean", "max", "min"])
def test_fp8_is_rearranged_and_pytorch_refuses_to_reduce_it(reduction: str, precision: str) -> None:
    moved = point("b h w c -> (c b) h w", SIZES, "none", precision)
    verdict = gate(TensorWorkload(moved, moved, "cpu", seed=3))
    assert verdict.ok, verdict.problem
    made = point("b h w c -> b c", SIZES, reduction, precision)
    assert "no fp8 arithmetic" in str(OP.impls["torch"].unsupported(made, CPU))
    with pytest.raises((RuntimeError, NotImplementedError)):
        TensorWorkload(made, made, "cpu", seed=3).launch()
