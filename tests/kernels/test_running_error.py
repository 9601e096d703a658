"""Error bounds that are carried along: what is computed in a narrower format lies within them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kernels.precisions import PRECISIONS
from kernels.running_error import Rounded
from kernels.tensors import dtype_of

NUMBERS = st.floats(-8, 8, width=16).filter(lambda x: x == 0 or abs(x) > 1e-2)


def exact(value: float, precision: str) -> Rounded:
    p = PRECISIONS[precision]
    return Rounded(torch.tensor(value, dtype=torch.float64), torch.zeros((), dtype=torch.float64), p.unit_roundoff, p.smallest_subnormal)


def formula(a, b, c):
    """Every operation, with constants on either side."""
    return 0.3 * a - b / ((c * c + a * a).sqrt() + 0.7) * 1.9


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@given(a=NUMBERS, b=NUMBERS, c=NUMBERS)
def test_what_is_rounded_after_every_operation_lies_within(precision: str, a: float, b: float, c: float) -> None:
    dtype = dtype_of(precision)
    narrow = [torch.tensor(x, dtype=dtype) for x in (a, b, c)]
    bounded = formula(*(exact(float(x), precision) for x in narrow))
    assert bounded.value == pytest.approx(float(formula(*(x.double() for x in narrow))), rel=1e-12, abs=1e-15)
    assert abs(float(formula(*narrow)) - float(bounded.value)) <= float(bounded.error)


def test_by_hand() -> None:
    """1/3 in bf16 is off by at most 2⁻⁸/3; a difference of near numbers keeps its operands' errors."""
    u = 2.0**-8
    third = exact(1.0, "bf16") / exact(3.0, "bf16")
    assert float(third.error) == pytest.approx(u / 3, rel=1e-6)
    assert float((third - third).error) == pytest.approx(2 * u / 3, rel=0.01)
    assert float((exact(4.0, "bf16") * exact(0.5, "bf16")).error) == pytest.approx(2 * u)


def test_a_divisor_that_may_be_zero_bounds_nothing() -> None:
    u = 2.0**-8
    small = Rounded(torch.tensor(1e-3, dtype=torch.float64), torch.tensor(2e-3, dtype=torch.float64), u, 0.0)
    assert math.isinf((exact(1.0, "bf16") / small).error)
    assert float(small.sqrt().error) == pytest.approx(math.sqrt(1e-3), rel=0.01)
