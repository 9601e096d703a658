"""The Triton einsum: which contractions are one strided batched matmul a step, and that those come out right."""

from __future__ import annotations

import pytest
import torch

from benches.correctness import check
from kernels.einsum import triton_impl
from kernels.einsum.grouping import Grouping
from kernels.einsum.spec import OP, groupings, path
from kernels.matmul.configs import configs
from kernels.op import Inputs, Point
from kernels.support import Platform

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # without a GPU, in Triton's interpreter
INTERPRETED = Platform("cpu", interpreted=True)
SIZES = {"b": 3, "q": 33, "k": 35, "h": 5, "d": 17, "e": 19, "f": 31, "s": 29, "i": 37, "j": 23, "l": 2, "m": 13, "n": 67, "one": 1}

# leading dims, m, n, k of the only step
GROUPED = {
    "b q d, b k d -> b q k": Grouping((("b",),), ("q",), ("k",), (("d",),)),
    "b q h d, b k h d -> b h q k": Grouping((("b",), ("h",)), ("q",), ("k",), (("d",),)),
    "b h q k, b k h d -> b q h d": Grouping((("b",), ("h",)), ("q",), ("d",), (("k",),)),
    "b s h, h f -> b s f": Grouping((), ("b", "s"), ("f",), (("h",),)),
    "b s h d, h d e -> b s e": Grouping((), ("b", "s"), ("e",), (("h", "d"),)),
    "b s h, h n l -> b n s l": Grouping((("b",), ("l",)), ("s",), ("n",), (("h",),)),  # n and l do not merge in the output
    "b q k, b h k d -> b h q d": Grouping((("b",), ("h",)), ("q",), ("d",), (("k",),)),
    "i j, j k -> k i": Grouping((), ("i",), ("k",), (("j",),)),
    "i, j -> i j": Grouping((), ("i",), ("j",), ()),
    "b i, b i -> b": Grouping((("b",),), (), (), (("i",),)),
    "i j, j -> i": Grouping((), ("i",), (), (("j",),)),
    "m k b, k n b -> m n b": Grouping((("b",),), ("m",), ("n",), (("k",),)),
    "b i one j, j e -> b i e one": Grouping((), ("b", "i"), ("e",), (("j",),)),
}
REFUSED = {
    "i j -> i": "contracts pairs",
    "i j, k -> k i": "contracts pairs of operands; this step sums j of one operand",
    "b i j k, b e k j -> b i e": "summed dims j, k do not step through both operands as one",
    "b h s d, l h s f -> b l h s d f": "needs 3 leading dims with strides of their own (h·s, b, l)",
}


def point(equation: str, precision: str = "bf16", operands: str = "contiguous") -> Point:
    names = equation.replace("->", " ").replace(",", " ").split()
    return OP.point("triton", precision, {name: SIZES[name] for name in names}, {"equation": equation, "operands": operands})


def assert_right(p: Point) -> None:
    inputs = triton_impl.make_inputs(p, DEVICE, 13)
    verdict = check(OP, p, triton_impl.build(p, inputs), inputs)
    assert verdict.ok, f"{p.id}: {verdict.problem}"


@pytest.mark.parametrize("equation", GROUPED)
def test_grouping(equation: str) -> None:
    assert groupings(point(equation)) == [GROUPED[equation]]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2"])
@pytest.mark.parametrize("equation", GROUPED)
def test_contraction(equation: str, precision: str) -> None:
    assert_right(point(equation, precision))


@pytest.mark.slow
@pytest.mark.parametrize("equation", GROUPED)
def test_sliced_operand_is_right_or_refused(equation: str) -> None:
    """The first operand's rows no longer run on: summed dims that include its last one cannot merge."""
    p = point(equation, operands="sliced")
    why = OP.impls["triton"].unsupported(p, INTERPRETED)
    assert (why is not None) == (equation == "b s h d, h d e -> b s e"), why
    if why is None:
        assert_right(p)


@pytest.mark.parametrize("equation", REFUSED)
def test_refused_with_a_reason(equation: str) -> None:
    assert REFUSED[equation] in (OP.impls["triton"].unsupported(point(equation), INTERPRETED) or "supported")


def test_building_what_is_refused_raises() -> None:
    p = point("b i j k, b e k j -> b i e")
    with pytest.raises(ValueError, match="do not step through both"):
        triton_impl.build(p, triton_impl.make_inputs(p, DEVICE, 1))


@pytest.mark.slow
@pytest.mark.parametrize("equation", ["i j, j k, k l -> i l", "b i, i j, b j -> b", "b q d, b k d, b k e -> b q e"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_chain(equation: str, precision: str) -> None:
    p = point(equation, precision)
    assert len(path(p)) == 2
    if OP.impls["triton"].unsupported(p, INTERPRETED) is None:
        assert_right(p)


def test_a_chain_shows_the_config_of_every_step() -> None:
    p = point("i j, j k, k l -> i l")
    config = triton_impl.build(p, triton_impl.make_inputs(p, DEVICE, 1)).config
    assert config is not None
    assert [part in map(str, configs("bf16", aligned=False)) for part in config.split(" + ")] == [True, True]


def test_fp8_chain_is_refused() -> None:
    assert "quantise" in (OP.impls["triton"].unsupported(point("i j, j k, k l -> i l", "fp8_e4m3"), INTERPRETED) or "")


def test_build_runs_the_real_shapes_config_on_shrunk_inputs() -> None:
    equation = "b q h d, b k h d -> b h q k"
    p = OP.point("triton", "bf16", {"b": 8, "q": 4096, "h": 32, "d": 128, "k": 4096}, {"equation": equation})
    small = OP.shrink(p)
    inputs = triton_impl.make_inputs(small, DEVICE, 3)
    kernel = triton_impl.build(p, inputs)
    assert kernel.config == str(configs("bf16")[0])
    verdict = check(OP, small, kernel, inputs)
    assert verdict.ok, verdict.problem


def test_ellipsis_stands_for_leading_dims() -> None:
    p = OP.point("triton", "bf16", {"z": 2, "y": 3, "q": 7, "k": 11, "d": 29}, {"equation": "... q d, ... k d -> ... q k"})
    assert groupings(p) == [Grouping((("z", "y"),), ("q",), ("k",), (("d",),))]
    assert_right(p)


def test_results_land_in_the_given_output() -> None:
    p = point("i j, j k -> k i", "fp32")
    inputs = triton_impl.make_inputs(p, DEVICE, 1)
    given = Inputs(inputs.operands, inputs.out)
    assert triton_impl.build(p, given).run() is given.out
