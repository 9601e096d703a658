"""Monte Carlo arithmetic: its noise, what it allows beside the formulas of kernels/tolerances.py, and real roundings under it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kernels import tolerances
from kernels.precisions import PRECISIONS
from kernels.rounding import EXACT, GOLDEN, Arithmetic, allowed, hashed, hashed_by_numpy, hashed_by_torch, pooled, rounded
from kernels.tensors import dtype_of

WIDE = ("fp32", "fp16", "bf16")
F64 = torch.float64


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def test_noise_is_uniform_and_independent_of_place_and_draw() -> None:
    x = normal(100_000)
    first, second = hashed(x, 1), hashed(x, 2)
    for noise in (first, second):
        assert float(noise.abs().max()) <= 1
        assert float(noise.mean()) == pytest.approx(0, abs=0.01)
        assert float(noise.square().mean()) == pytest.approx(1 / 3, abs=0.01)
    assert abs(float(torch.corrcoef(torch.stack([first, second, x]))[0, 1:].abs().max())) < 0.02


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 2**70))
def test_equal_values_have_equal_noise_and_zeros_none(value: float, seed: int) -> None:
    one, other = hashed(torch.tensor([value, value], dtype=F64), seed)
    assert one == other
    assert (one == 0) or value != 0


@pytest.mark.parametrize("hashing", [hashed_by_numpy, hashed_by_torch])
def test_noise_is_splitmix64s(hashing: Callable[[Tensor, int], Tensor]) -> None:
    """Its first numbers from seed 0, as others list them (Vigna, splitmix64.c)."""
    bits = torch.tensor([(i * GOLDEN + 2**63) % 2**64 - 2**63 for i in (1, 2, 3)]).view(F64)
    expected = [0xE220A8397B1DCDAF - 2**64, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert hashing(bits, 0).tolist() == [float(word) / 2**63 for word in expected]


@pytest.mark.parametrize("shape", [(), (1,), (127,), (3, 1, 129), (0, 5)])
def test_noise_is_the_same_by_numpy_and_by_pytorch(shape: tuple[int, ...]) -> None:
    x = normal(*shape).requires_grad_()
    for one in (x, x.mT if x.dim() > 1 else x, torch.zeros(shape, dtype=F64)):
        assert torch.equal(hashed_by_numpy(one, 7 * GOLDEN), hashed_by_torch(one, 7 * GOLDEN))


@pytest.mark.parametrize("precision", WIDE)
def test_a_stored_value_lies_within_one_rounding(precision: str) -> None:
    x = normal(50_000)
    off = (rounded(precision, 1).stored(x) - x).abs()
    bound = tolerances.rounding(x, precision) + tolerances.ULPS * tolerances.U32 * x.abs()
    assert (off <= bound).all()
    assert float((off / bound).max()) > 0.9
    real = (x.to(dtype_of(precision)).double() - x).abs()
    assert (real <= bound).all()


def test_gradients_are_rounded_on_their_way_back() -> None:
    x = normal(1000).requires_grad_()
    (g,) = torch.autograd.grad(rounded("bf16", 1).stored(x).sum(), x)
    assert 0 < float((g - 1).abs().max()) <= 2**-9 + 2**-20


@pytest.mark.parametrize("precision", [*WIDE, "tf32"])
@pytest.mark.parametrize("k", [1, 17, 509])
def test_a_product_is_allowed_about_what_its_formula_allows(precision: str, k: int) -> None:
    """tolerances.contraction bounds the rounding of the result and adds λ deviations of the rest; here λ deviations of both, which in 16
    bits, where the rounding is nearly all, is λ/√3 of an average element's bound."""
    a, b = normal(61, k), normal(k, 67, seed=2)
    exact = a @ b
    (mine,) = allowed(lambda arithmetic: (arithmetic.multiply(a, b),), (exact,), precision)
    walk = a.norm(dim=1, keepdim=True) * b.norm(dim=0) / math.sqrt(k)
    formula = tolerances.contraction(exact, walk, precision, k)
    ratio = float((mine / formula).log().mean().exp())
    assert 0.5 < ratio < (4 if PRECISIONS[precision].bytes == 4 else 15)


def chain(arithmetic: Arithmetic, x: Tensor, weights: list[Tensor]) -> tuple[Tensor, ...]:
    for weight in weights:
        x = arithmetic.stored(torch.tanh(arithmetic.multiply(x, weight)))
    return (x,)


@pytest.mark.slow
@pytest.mark.parametrize("precision", WIDE)
@pytest.mark.parametrize("layers", [1, 3, 9])
def test_real_roundings_of_a_chain_lie_within(precision: str, layers: int) -> None:
    """And use a fair part of what is allowed: errors of `layers` layers, computed in the precision by PyTorch."""
    dtype = dtype_of(precision)
    x = normal(61, 64).to(dtype).double()
    weights = [(normal(64, 64, seed=i) / 8).to(dtype).double() for i in range(layers)]
    (exact,) = chain(EXACT, x, weights)
    (limit,) = allowed(lambda arithmetic: chain(arithmetic, x, weights), (exact,), precision)
    (real,) = chain(EXACT, x.to(dtype), [w.to(dtype) for w in weights])
    worst = float(((real.double() - exact).abs() / limit).max())
    assert 0.02 < worst < 1


def test_a_fused_attentions_own_sum_does_not_cancel() -> None:
    """One position: the scores' gradient is exactly 0, and what a kernel gives instead is the rounding of two sums that should be equal."""
    scores, v = torch.zeros(1, 1, dtype=F64, requires_grad=True), normal(1, 16)
    given = normal(1, 16, seed=2)

    def gradient(arithmetic: Arithmetic) -> tuple[Tensor, ...]:
        return torch.autograd.grad(arithmetic.attend(scores, v, True), scores, given)

    assert float(gradient(EXACT)[0]) == 0
    (limit,) = allowed(gradient, gradient(EXACT), "bf16")
    assert 2**-9 < float(limit) / float((given * v).norm()) < 1


def test_rows_that_nothing_happens_to_are_allowed_nothing() -> None:
    table, index = normal(5, 3).requires_grad_(), torch.tensor([[1, 3], [3, 3]])

    def gradient(arithmetic: Arithmetic) -> tuple[Tensor, ...]:
        return torch.autograd.grad(arithmetic.gather(table, index), table, normal(2, 2, 3, seed=3))

    (limit,) = allowed(gradient, gradient(EXACT), "bf16")
    assert float(limit[[0, 2, 4]].max()) <= PRECISIONS["bf16"].smallest_subnormal
    assert float(limit[[1, 3]].min()) > 2**-9 * 0.01


def test_pooled_deviations_follow_rows_and_columns() -> None:
    rows, columns = torch.tensor([[0.0], [1.0], [3.0]], dtype=F64), torch.tensor([1.0, 1.0, 4.0], dtype=F64)
    found = pooled(rows * columns)  # means of the rows that are not 0: 2 and 6; of the columns 2, 2, 8; of all 4
    assert torch.equal(found[0], torch.zeros(3, dtype=F64))
    assert found[1].tolist() == [3 * 3 / 4, 3 * 3 / 4, 3 * 6 / 4]
    assert found[2].tolist() == [5 * 3 / 4, 5 * 3 / 4, 5 * 6 / 4]
    assert pooled(torch.tensor([1.0, 3.0], dtype=F64)).tolist() == [2.0, 2.0]
