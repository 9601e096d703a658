"""Several processes for one point, and the order of a run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benches.row import Row, Status, new_row
from benches.run.order import shuffled
from benches.run.processes import combine_rows
from kernels.registry import OPS


def row(median_s: float | None, status: Status = "ok") -> Row:
    op = OPS["matmul"]
    point = op.point("torch", "bf16", {"m": 127, "n": 129, "k": 131})
    times = {"median_s": median_s, "samples_s": [median_s] * 3, "ci_low_s": median_s, "ci_high_s": median_s} if median_s else {}
    return new_row(point, op.cost(point, "cuda"), status, None, wall_s=1.0, **times)


def test_the_median_of_the_processes_with_an_interval_between_them() -> None:
    combined = combine_rows([row(1.00), row(1.01), row(0.99), row(1.00), row(1.02)], half_width=0.05)
    assert combined.status == "ok"
    assert combined.median_s == 1.00
    assert combined.process_medians_s == [1.00, 1.01, 0.99, 1.00, 1.02]
    assert len(combined.samples_s) == 15
    assert combined.ci_low_s is not None
    assert combined.ci_high_s is not None
    assert combined.ci_low_s < 1.0 < combined.ci_high_s
    assert combined.wall_s == 5.0


def test_processes_that_disagree_are_noisy_and_say_so() -> None:
    combined = combine_rows([row(1.0), row(1.3), row(0.8), row(1.1), row(1.0)], half_width=0.05)
    assert combined.status == "noisy"
    assert "between 5 processes" in str(combined.reason)


def test_a_process_that_did_not_converge_is_not_forgotten() -> None:
    unsure = row(1.0, "noisy").model_copy(update={"reason": "two modes"})
    combined = combine_rows([row(1.0), unsure, row(1.0)], half_width=0.05)
    assert (combined.status, combined.reason) == ("noisy", "in one of 3 processes two modes")


@pytest.mark.parametrize("status", ["wrong", "crashed", "oom"])
def test_one_process_without_a_time_is_the_answer(status: Status) -> None:
    assert combine_rows([row(1.0), row(None, status), row(1.0)], half_width=0.05).status == status


def test_one_process_is_itself() -> None:
    assert combine_rows([row(1.0)], half_width=0.05) == row(1.0)


@pytest.mark.slow
@given(st.sets(st.text(min_size=1, max_size=8), max_size=30), st.integers(0, 2**31), st.text(min_size=1, max_size=8))
def test_the_order_is_a_permutation_that_one_more_point_does_not_change(ids: set[str], seed: int, extra: str) -> None:
    order = shuffled(sorted(ids), seed)
    assert sorted(order) == sorted(ids)
    assert order == shuffled(sorted(ids, reverse=True), seed)
    assert [name for name in shuffled([*sorted(ids - {extra}), extra], seed) if name != extra] == [name for name in order if name != extra]
