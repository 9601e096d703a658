"""The gate lets right results through and catches every planted error."""

from __future__ import annotations

import math

import pytest
import torch

from benches.correctness import check, compare, fill_nan
from kernels.op import Kernel
from kernels.registry import OPS
from studies.planted import Case, every_case, judge
from tests.runs_in import runs_in

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("case", list(every_case()), ids=lambda c: f"{c.error}-{c.point.id}")
def test_planted_error_is_caught_and_the_right_result_is_not(case: Case) -> None:
    good, bad = judge(case)
    assert good.ok, good.problem
    assert good.worst <= 1
    assert not bad.ok
    assert bad.worst > 1


def test_every_op_and_precision_has_planted_errors() -> None:
    covered = {(c.point.op, c.point.precision) for c in every_case()}
    assert covered == {(op, precision) for op in OPS for precision in runs_in(op)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_fill_nan_leaves_no_number(dtype: torch.dtype) -> None:
    out = torch.zeros(7, 13).to(dtype)
    fill_nan(out)
    assert out.double().isnan().all()


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.uint8, torch.bool])
def test_whole_numbers_are_poisoned_too(dtype: torch.dtype) -> None:
    out = torch.zeros(7, 13, dtype=dtype)
    fill_nan(out)
    assert not (out == 0).any()


def test_the_message_says_where_and_how_far() -> None:
    expected = torch.zeros(3, 5, dtype=torch.float64)
    result = expected.clone()
    result[2, 1], result[0, 0] = 4.0, 2.0
    verdict = compare(result, expected, torch.ones((), dtype=torch.float64))
    assert verdict.worst == 4.0
    assert verdict.problem == "2 of 15 elements are off; worst at (2, 1): got 4, expected 0 ± 1"


@pytest.mark.parametrize(
    ("got", "allowed", "worst"),
    [(0.0, 0.0, 0.0), (1e-30, 0.0, math.inf), (math.nan, 1.0, math.inf), (math.inf, 1.0, math.inf), (0.5, 1.0, 0.5), (1.0, 1.0, 1.0)],
)
def test_worst_ratio(got: float, allowed: float, worst: float) -> None:
    zeros = torch.zeros(1, dtype=torch.float64)
    verdict = compare(torch.full((1,), got), zeros, torch.tensor([allowed], dtype=torch.float64))
    assert verdict.worst == worst
    assert verdict.ok == (worst <= 1)


def test_a_result_of_the_wrong_shape_or_dtype_is_said() -> None:
    op = OPS["matmul"]
    point = op.point("torch", "bf16", {"m": 7, "n": 11, "k": 13})
    inputs = op.load("make_inputs")(point, "cpu", 1)
    assert check(op, point, Kernel(lambda: torch.zeros(11, 7)), inputs).problem == (
        "the result is (11, 7) torch.float32, expected (7, 11) torch.bfloat16"
    )
