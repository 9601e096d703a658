"""The Triton einsum: which contractions are one strided batched matmul a step, and that those come out right."""

from __future__ import annotations

import random

import pytest
import torch

from benches.correctness import check
from kernels.einsum import triton_impl
from kernels.einsum.spec import OP, path
from kernels.einsum.triton_impl import Launch
from kernels.matmul.configs import configs
from kernels.op import Inputs, OpError, Point
from kernels.support import Platform
from studies.equations.draw import random_equation

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # without a GPU, in Triton's interpreter
INTERPRETED = Platform("cpu", interpreted=True)
SIZES = {"b": 3, "g": 4, "q": 33, "k": 35, "h": 5, "d": 17, "e": 19, "f": 31, "s": 29, "i": 37, "j": 23, "l": 2, "m": 13, "n": 67, "one": 1}

# What the only step is, and its dims: of a product batch | m | n | k, of the others rows | k. Sizes joined by a dot are several dims.
LAUNCHED = {
    "b q d, b k d -> b q k": "product 3 | 33 | 35 | 17",
    "b q h d, b k h d -> b h q k": "product 3.5 | 33 | 35 | 17",
    "b h q k, b k h d -> b q h d": "product 3.5 | 33 | 17 | 35",
    "b q g h d, b k g d -> b g h q k": "product 3.4 | 5.33 | 35 | 17",  # grouped queries: h and q are rows
    "b s h, h f -> b s f": "product  | 87 | 31 | 5",
    "b s h d, h d e -> b s e": "product  | 87 | 19 | 85",
    "b h s d, h d e -> b s e": "product  | 3.29 | 19 | 5.17",  # the output projection: h and d do not merge
    "b s h, h n l -> b n s l": "product  | 3.29 | 67.2 | 5",
    "b q k, b h k d -> b h q d": "product 3 | 33 | 5.17 | 35",
    "i j, j k -> k i": "product  | 37 | 35 | 23",
    "m k b, k n b -> m n b": "product 3 | 13 | 67 | 35",
    "b i one j, j e -> b i e one": "product  | 111 | 19 | 23",
    "b i j k, b e k j -> b i e": "product 3 | 37 | 19 | 23.35",
    "b h s d, l h s f -> b l h s d f": "reduction 3.2.145.17.31 | ",
    "i, j -> i j": "reduction 37.23 | ",
    "b i, b i -> b": "reduction 3 | 37",
    "i j, j -> i": "reduction 37 | 23",
    "i j -> i": "reduction 37 | 23",
    "i j -> j": "reduction 23 | 37",
    "i j -> ": "reduction  | 851",
    "i j k -> k i": "reduction 37.35 | 23",
    "i j -> j i": "reduction 37.23 | ",
    "m n, m n -> m n": "reduction 871 | ",
    "m n, n m -> m n": "reduction 13.67 | ",
    "b i, b -> b i": "reduction 3.37 | ",
}


def point(equation: str, precision: str = "bf16", operands: str = "contiguous") -> Point:
    names = equation.replace("->", " ").replace(",", " ").split()
    return OP.point("triton", precision, {name: SIZES[name] for name in names}, {"equation": equation, "operands": operands})


def assert_right(p: Point) -> None:
    inputs = triton_impl.make_inputs(p, DEVICE, 13)
    verdict = check(OP, p, triton_impl.build(p, inputs), inputs)
    assert verdict.ok, f"{p.id}: {verdict.problem}"


def shown(launch: Launch) -> str:
    p = launch.product
    groups = (p.batch, p.m, p.n, p.k) if launch.kind == "product" else (p.m, p.k)
    return f"{launch.kind} " + " | ".join(".".join(str(dim.size) for dim in group) for group in groups)


@pytest.mark.parametrize("equation", LAUNCHED)
def test_what_a_step_is(equation: str) -> None:
    assert [shown(launch) for launch in triton_impl.launches(point(equation))] == [LAUNCHED[equation]]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2"])
@pytest.mark.parametrize("equation", LAUNCHED)
def test_contraction(equation: str, precision: str) -> None:
    if equation != "b h s d, l h s f -> b l h s d f" or precision == "bf16":  # 458,490 elements
        assert_right(point(equation, precision))


@pytest.mark.slow
@pytest.mark.parametrize("equation", [e for e in LAUNCHED if e != "b h s d, l h s f -> b l h s d f"])
def test_a_sliced_operand(equation: str) -> None:
    """The first operand's rows no longer run on: dims that include its last one do not merge."""
    assert_right(point(equation, operands="sliced"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_random_equation(seed: int) -> None:
    draw = random.Random(seed)
    equation, dims = random_equation(draw)
    options = {"equation": equation, "operands": draw.choice(("contiguous", "sliced"))}
    p = OP.point("triton", draw.choice(("fp32", "tf32", "fp16", "bf16")), dims, options)
    assert OP.impls["triton"].unsupported(p, INTERPRETED) is None
    assert_right(p)


def test_more_summed_dims_than_two_have_counters_of_their_own() -> None:
    p = OP.point("triton", "fp32", dict(zip("abcdmn", (2, 3, 4, 5, 7, 6), strict=True)), {"equation": "m a b c d, d b n c a -> m n"})
    (launch,) = triton_impl.launches(p)
    assert len(launch.product.k) == 4
    assert_right(p)


def test_a_diagonal_is_refused_with_what_to_do() -> None:
    with pytest.raises(OpError, match=r"means a diagonal: take it as a view first, x\.diagonal\(\)"):
        point("i i -> i")


@pytest.mark.slow
@pytest.mark.parametrize("equation", ["i j, j k, k l -> i l", "b i, i j, b j -> b", "b q d, b k d, b k e -> b q e", "i j, k l -> k"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_chain(equation: str, precision: str) -> None:
    p = point(equation, precision)
    assert len(path(p)) > 1
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
    assert [shown(launch) for launch in triton_impl.launches(p)] == ["product 6 | 7 | 11 | 29"]
    assert_right(p)


def test_results_land_in_the_given_output() -> None:
    p = point("i j, j k -> k i", "fp32")
    inputs = triton_impl.make_inputs(p, DEVICE, 1)
    given = Inputs(inputs.operands, inputs.out)
    assert triton_impl.build(p, given).run() is given.out
