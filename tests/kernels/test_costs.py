"""Analytic costs: tables worked out by hand, then FLOPs against torch.utils.flop_counter and bytes against real tensors."""

from __future__ import annotations

import math
import random
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from kernels.einsum.spec import path
from kernels.elementwise.spec import FUNCTIONS as ELEMENTWISE_FUNCTIONS
from kernels.op import Cost, Inputs, Point
from kernels.precisions import PRECISIONS
from kernels.registry import OPS

RAGGED = (1, 2, 16, 17, 64, 97, 127, 128, 129)


def shapes(count: int, dims: int, seed: int) -> list[tuple[int, ...]]:
    """All ones, then ragged sizes drawn once and for all."""
    rng = random.Random(seed)
    return [(1,) * dims] + [tuple(rng.choice(RAGGED) for _ in range(dims)) for _ in range(count - 1)]


def point(op: str, precision: str, dims: dict[str, int], **options: str) -> Point:
    return OPS[op].point("torch", precision, dims, options)


def cost(made: Point) -> Cost:
    return OPS[made.op].cost(made, "cpu")


def inputs(made: Point) -> Inputs:
    return OPS[made.op].load("make_inputs")(made, "cpu", 0)


def read(made: Inputs) -> int:
    """Bytes of the operands' elements: what a kernel must load once."""
    return sum(t.numel() * t.element_size() for t in made.operands)


def held(made: Inputs) -> int:
    """Bytes allocated: whole buffers, also where an operand is a slice of one."""
    return sum(t.untyped_storage().nbytes() for t in (*made.operands, made.out))


MATMULS = [
    # dims, precision, options: flops, bytes read, bytes written, memory — 2·m·n·k; A, B and C in their own sizes
    ({"m": 4, "n": 5, "k": 3}, "fp32", {}, 120, (12 + 15) * 4, 20 * 4, (12 + 15 + 20) * 4),
    ({"m": 4, "n": 5, "k": 3}, "bf16", {}, 120, (12 + 15) * 2, 20 * 2, (12 + 15 + 20) * 2),
    ({"m": 4, "n": 5, "k": 3}, "tf32", {}, 120, (12 + 15) * 4, 20 * 4, (12 + 15 + 20) * 4),
    # fp8: one byte in, bf16 out, two fp32 scales
    ({"m": 16, "n": 32, "k": 64}, "fp8_e4m3", {"layout": "nt"}, 65536, 1024 + 2048 + 8, 1024, 1024 + 2048 + 8 + 1024),
    # docs/cost_model.md: (4, 8, 16, 32) @ (32, 2) gives (4, 8, 16, 2)
    ({"b1": 4, "b2": 8, "m": 16, "n": 2, "k": 32}, "fp32", {"rhs": "shared"}, 65536, (16384 + 64) * 4, 1024 * 4, (16384 + 64 + 1024) * 4),
    ({"b": 3, "m": 4, "n": 5, "k": 3}, "fp16", {}, 360, 3 * 27 * 2, 60 * 2, 3 * 47 * 2),
    ({"m": 1, "n": 1, "k": 1}, "bf16", {}, 2, 4, 2, 6),
    ({"m": 4096, "n": 4096, "k": 4096}, "bf16", {}, 2 * 4096**3, 2 * 2 * 4096**2, 2 * 4096**2, 3 * 2 * 4096**2),
    # sliced: each row belongs to a parent 64 columns wider, which is held but not read
    ({"m": 4, "n": 5, "k": 3}, "fp32", {"operands": "sliced"}, 120, 27 * 4, 20 * 4, (4 * 67 + 3 * 69 + 20) * 4),
]


@pytest.mark.parametrize(("dims", "precision", "options", "flops", "bytes_read", "bytes_written", "memory"), MATMULS)
def test_matmul(dims, precision, options, flops, bytes_read, bytes_written, memory) -> None:
    assert cost(point("matmul", precision, dims, **options)) == Cost(flops, bytes_read, bytes_written, memory)


ELEMENTWISE = [
    # function, m, n, precision, options: flops (adding two matrices is m·n), bytes read, bytes written
    ("add", 8, 16, "fp32", {}, 128, 2 * 128 * 4, 128 * 4),
    ("add", 127, 129, "bf16", {}, 127 * 129, 2 * 127 * 129 * 2, 127 * 129 * 2),
    ("relu", 8, 16, "fp16", {}, 128, 128 * 2, 128 * 2),
    ("silu", 8, 16, "bf16", {}, 512, 128 * 2, 128 * 2),
    ("rsqrt", 8, 16, "fp32", {}, 256, 128 * 4, 128 * 4),
    ("gelu", 8, 16, "fp32", {}, 640, 128 * 4, 128 * 4),
    ("copy", 8, 16, "fp8_e4m3", {}, 0, 128, 128),
    ("cast", 8, 16, "fp32", {"to": "bf16"}, 0, 128 * 4, 128 * 2),
    ("cast", 8, 16, "bf16", {"to": "fp8_e5m2"}, 0, 128 * 2, 128),
    ("quantise_rows", 8, 16, "bf16", {"to": "fp8_e4m3"}, 2 * 128 + 2 * 8, 128 * 2, 128 + 8 * 4),
    ("quantise_blocks", 3, 129, "fp32", {"to": "fp8_e5m2"}, 2 * 387 + 2 * 6, 387 * 4, 387 + 6 * 4),
    ("bias_gelu_residual", 8, 16, "bf16", {}, 7 * 128, (256 + 16) * 2, 128 * 2),
    ("triu", 4, 4, "fp32", {}, 0, 10 * 4, 16 * 4),  # 4 + 3 + 2 + 1
    ("triu", 2, 5, "fp32", {}, 0, 9 * 4, 10 * 4),  # 5 + 4
    ("triu", 5, 2, "fp32", {}, 0, 3 * 4, 10 * 4),  # 2 + 1
]


@pytest.mark.parametrize(("function", "m", "n", "precision", "options", "flops", "bytes_read", "bytes_written"), ELEMENTWISE)
def test_elementwise(function, m, n, precision, options, flops, bytes_read, bytes_written) -> None:
    found = cost(point("elementwise", precision, {"m": m, "n": n}, function=function, **options))
    assert (found.flops, found.bytes_read, found.bytes_written) == (flops, bytes_read, bytes_written)


EINSUMS = [
    # equation, dims, flops, elements read, elements written, elements held at once
    ("b s h, b t h -> b s t", {"b": 8, "s": 32, "t": 16, "h": 64}, 2 * 8 * 32 * 16 * 64, 8 * 64 * 48, 8 * 32 * 16, 8 * 64 * 48 + 4096),
    ("i j, j -> i", {"i": 5, "j": 7}, 70, 42, 5, 47),
    ("i j -> i", {"i": 5, "j": 7}, 35, 35, 5, 40),  # a sum: one add an element
    ("i, j -> i j", {"i": 5, "j": 7}, 35, 12, 35, 47),  # an outer product: one multiply
    ("i j -> j i", {"i": 5, "j": 7}, 0, 35, 35, 70),
    # a chain: (i j · j k) first, 2·(3·4·5), then 2·(3·5·20); the other order costs 2·(4·5·20) + 2·(3·4·20)
    ("i j, j k, k l -> i l", {"i": 3, "j": 4, "k": 5, "l": 20}, 120 + 600, 12 + 20 + 100, 60, 132 + 15 + 60),
    # dims of only one operand are summed first, one add for each element: then little is left to multiply
    ("i j, k l ->", {"i": 512, "j": 512, "k": 512, "l": 512}, 2 * 512**2 + 1, 2 * 512**2, 1, 2 * 512**2 + 3),
    ("i j, k -> k i", {"i": 5, "j": 7, "k": 3}, 35 + 15, 38, 15, 38 + 5 + 15),
    ("i j, j k -> i", {"i": 5, "j": 7, "k": 3}, 21 + 2 * 35, 35 + 21, 5, 56 + 7 + 5),
    ("i j, j k, k l -> i", {"i": 3, "j": 4, "k": 5, "l": 6}, 30 + 2 * 20 + 2 * 12, 12 + 20 + 30, 3, 62 + 5 + 4),
    # b k with the smaller of the others: 2·16·8·64·32 afterwards, an elementwise product of 16·8·64 before
    (
        "b g k, b k d, b k -> b g d",
        {"b": 16, "g": 8, "k": 64, "d": 32},
        8192 + 2 * 8192 * 32,
        8192 + 32768 + 1024,
        4096,
        41984 + 8192 + 4096,
    ),
]


@pytest.mark.parametrize(("equation", "dims", "flops", "elements_read", "elements_written", "elements_held"), EINSUMS)
def test_einsum(equation, dims, flops, elements_read, elements_written, elements_held) -> None:
    found = cost(point("einsum", "fp32", dims, equation=equation))
    assert found == Cost(flops, 4 * elements_read, 4 * elements_written, 4 * elements_held)


def test_ellipsis_costs_what_the_named_dims_cost() -> None:
    free = point("einsum", "bf16", {"x": 3, "y": 4, "i": 5, "j": 6, "k": 7}, equation="... i j, ... j k -> ... i k")
    named = point("einsum", "bf16", {"x": 3, "y": 4, "i": 5, "j": 6, "k": 7}, equation="x y i j, x y j k -> x y i k")
    assert cost(free) == cost(named)


@pytest.mark.slow
@pytest.mark.parametrize("m_n_k", shapes(60, 3, seed=1))
def test_matmul_flops_are_those_torch_counts(m_n_k: tuple[int, int, int]) -> None:
    made = point("matmul", "fp32", dict(zip("mnk", m_n_k, strict=True)))
    with FlopCounterMode(display=False) as counter:
        torch.matmul(*inputs(made).operands)
    assert cost(made).flops == counter.get_total_flops()


@pytest.mark.slow
@pytest.mark.parametrize("b_m_n_k", [(b % 7 + 1, *s) for b, s in enumerate(shapes(50, 3, seed=2))])
def test_batched_matmul_flops_are_those_torch_counts(b_m_n_k: tuple[int, ...]) -> None:
    made = point("matmul", "bf16", dict(zip("bmnk", b_m_n_k, strict=True)))
    with FlopCounterMode(display=False) as counter:
        torch.matmul(*inputs(made).operands)
    assert cost(made).flops == counter.get_total_flops()


MATMUL_SIZES = list(zip(shapes(60, 4, seed=3), [*product(PRECISIONS, ("contiguous", "sliced"), ("batched", "shared"))] * 3, strict=False))


@pytest.mark.slow
@pytest.mark.parametrize(("b_m_n_k", "kind"), MATMUL_SIZES)
def test_matmul_bytes_are_those_of_the_tensors(b_m_n_k: tuple[int, ...], kind: tuple[str, str, str]) -> None:
    precision, operands, rhs = kind
    made = point("matmul", precision, dict(zip("bmnk", b_m_n_k, strict=True)), layout="nt", operands=operands, rhs=rhs)
    found, tensors = cost(made), inputs(made)
    assert found.bytes_read == read(tensors)
    assert found.bytes_written == tensors.out.numel() * tensors.out.element_size()
    assert found.memory_bytes == held(tensors)


FUNCTIONS = [f for f in OPS["elementwise"].options["function"].choices if f != "triu" and not ELEMENTWISE_FUNCTIONS[f].converts]
ELEMENTWISE_SIZES = list(zip(shapes(56, 2, seed=4), FUNCTIONS * 4, ("fp32", "fp16", "bf16") * 19, strict=False))


@pytest.mark.slow
@pytest.mark.parametrize(("m_n", "function", "precision"), ELEMENTWISE_SIZES)
def test_elementwise_bytes_are_those_of_the_tensors(m_n: tuple[int, int], function: str, precision: str) -> None:
    made = point("elementwise", precision, dict(zip("mn", m_n, strict=True)), function=function)
    found, tensors = cost(made), inputs(made)
    assert found.bytes_read == read(tensors)
    assert found.bytes_written == tensors.out.numel() * tensors.out.element_size()
    assert found.memory_bytes == held(tensors)


@pytest.mark.parametrize(
    ("m_n", "precision", "to"), [(s, p, q) for s, (p, q) in zip(shapes(9, 2, 5), product(("fp32", "bf16", "fp16"), repeat=2), strict=True)]
)
def test_cast_bytes_are_those_of_the_tensors(m_n: tuple[int, int], precision: str, to: str) -> None:
    made = point("elementwise", precision, dict(zip("mn", m_n, strict=True)), function="cast", to=to)
    assert (cost(made).bytes_read, cost(made).memory_bytes) == (read(inputs(made)), held(inputs(made)))


@pytest.mark.slow
@pytest.mark.parametrize("m_n", shapes(50, 2, seed=6))
def test_triu_reads_what_is_on_and_above_the_diagonal(m_n: tuple[int, int]) -> None:
    made = point("elementwise", "fp32", dict(zip("mn", m_n, strict=True)), function="triu")
    assert cost(made).bytes_read == 4 * int(torch.ones(m_n).triu().sum())
    assert cost(made).memory_bytes == held(inputs(made))


PAIRS = ("b s h, b t h -> b s t", "i j, j k -> i k", "b i j, b j -> b i", "q h d, k h d -> h q k", "a b c, c b -> a")
PAIR_CASES = [(PAIRS[i % len(PAIRS)], sizes) for i, sizes in enumerate(shapes(55, 4, seed=7))]


def _einsum(equation: str, sizes: tuple[int, ...], precision: str = "fp32", **options: str) -> Point:
    names = dict.fromkeys(name for name in equation.replace("->", " ").replace(",", " ").split())
    return point("einsum", precision, {name: min(size, 33) for name, size in zip(names, sizes, strict=False)}, equation=equation, **options)


@pytest.mark.slow
@pytest.mark.parametrize(("equation", "sizes"), PAIR_CASES)
def test_einsum_flops_are_those_torch_counts(equation: str, sizes: tuple[int, ...]) -> None:
    made = _einsum(equation, sizes)
    with FlopCounterMode(display=False) as counter:
        torch.einsum(path(made)[0].letters(), *inputs(made).operands)
    # torch.einsum drops dims of size 1 and then multiplies without a matmul, which its counter does not see
    counted = counter.get_total_flops()
    assert counted in (cost(made).flops, 0)
    assert counted or 1 in made.dims.values()


@pytest.mark.slow
@pytest.mark.parametrize(("equation", "sizes"), PAIR_CASES)
def test_einsum_bytes_are_those_of_the_tensors(equation: str, sizes: tuple[int, ...]) -> None:
    precision = ("fp32", "bf16", "fp16")[sum(sizes) % 3]
    made = _einsum(equation, sizes, precision, operands=("contiguous", "sliced")[sum(sizes) % 2])
    found, tensors = cost(made), inputs(made)
    assert found.bytes_read == read(tensors)
    assert found.bytes_written == tensors.out.numel() * tensors.out.element_size()
    assert found.memory_bytes == held(tensors)


NAMES = ("a", "b", "c", "d", "e")
TERM = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)


@pytest.mark.slow
@given(st.lists(TERM, min_size=1, max_size=5), st.data(), st.lists(st.integers(1, 5), min_size=5, max_size=5))
def test_any_path_computes_the_equation_at_no_more_than_numpys_flops(terms: list[list[str]], data: st.DataObject, sizes: list[int]) -> None:
    """Against NumPy, which runs all loops at once: n − 1 multiplies and an add in each. The path costs at most that, plus one add for each
    element that is summed first. Where two operands are contracted, both hold the summed dims."""
    held_by = list(dict.fromkeys(name for term in terms for name in term))
    output = data.draw(st.lists(st.sampled_from(held_by), unique=True, max_size=len(held_by)))
    dims = {name: size for name, size in zip(NAMES, sizes, strict=True) if name in held_by}
    text = f"{', '.join(' '.join(term) for term in terms)} -> {' '.join(output)}"
    made = point("einsum", "fp32", dims, equation=text)
    rng = np.random.default_rng(1)
    operands = [rng.integers(-3, 4, [dims[n] for n in term]).astype(float) for term in terms]
    live = list(operands)
    for step in path(made):
        live = step.after(live, np.einsum(step.letters(), *(live[i] for i in step.positions)))
        assert len(step.terms) == 1 or all(name in step.terms[0] and name in step.terms[1] for name in step.summed)
    expected = np.einsum(f"{','.join(''.join(term) for term in terms)}->{''.join(output)}", *operands)
    np.testing.assert_array_equal(live[0], expected)
    assert cost(made).flops <= math.prod(dims.values()) * len(terms) + sum(operand.size for operand in operands)


@pytest.mark.parametrize("equation", ["i j, j k, k l -> i l", "b i, i j, j k, k l -> b l", "a b, b c, c d, d e, e f -> a f"])
@pytest.mark.parametrize("sizes", [(3, 17, 5, 29, 7, 11), (31, 2, 13, 3, 23, 5), (2, 33, 33, 2, 33, 33)])
def test_chain_flops_are_those_of_its_steps(equation: str, sizes: tuple[int, ...]) -> None:
    made = _einsum(equation, sizes)
    live, total = list(inputs(made).operands), 0
    for step in path(made):
        with FlopCounterMode(display=False) as counter:
            result = torch.einsum(step.letters(), *(live[i] for i in step.positions))
        total += counter.get_total_flops()
        live = step.after(live, result)
    assert total == cost(made).flops
    assert math.prod(live[0].shape) * 4 == cost(made).bytes_written
