"""The table of kernels: what a cell says, and that 80 columns hold it."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from benches.kernel.kernel_command import compiled_lines
from benches.kernel.table import HEADINGS, cells, rate, show_table, speed_up, spread
from benches.row import Row, new_row
from kernels.op import Cost
from kernels.registry import OPS

POINT = OPS["matmul"].point("torch", "fp32", {"m": 1024, "n": 1024, "k": 1024}, {"layout": "nn"})


def row(impl: str = "torch", median: float | None = 1e-3, half: float = 0.01, **fields: Any) -> Row:
    times: dict[str, Any] = (
        {} if median is None else {"median_s": median, "ci_low_s": median * (1 - half), "ci_high_s": median * (1 + half)}
    )
    one = new_row(POINT, Cost(2 * 1024**3, 8 * 1024**2, 4 * 1024**2, 12 * 1024**2), "ok", **times)
    return one.model_copy(update={"impl": impl, **fields})


def shown(*rows: Row, kind: str = "cuda") -> str:
    stream = io.StringIO()
    show_table(rows, {"device_kind": kind}, Console(file=stream, width=80))
    return stream.getvalue()


def test_the_speed_up_has_the_widest_interval_that_both_leave() -> None:
    assert speed_up(row(median=1e-3, half=0.5), row(median=2e-3, half=0.5)) == "2x\n0.67 to 6"
    assert speed_up(row(median=None), row()) == "-"
    assert speed_up(row(), None) == "-"
    assert speed_up(row(ci_low_s=0.0), row()) == "-"


@pytest.mark.parametrize(("half", "text"), [(0.0, "0.0%"), (0.0034, "0.3%"), (0.5, "50.0%"), (1.0, "over 100%"), (69.7, "over 100%")])
def test_a_spread_beyond_the_value_is_not_given_digits(half: float, text: str) -> None:
    assert spread(half) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (12.3, "12.3"), (1e3, "1 k"), (2.15e9, "2.15 G"), (1e12, "1 T"), (9.895e14, "990 T")]
)
def test_a_rate_has_three_digits_and_a_prefix(value: float, text: str) -> None:
    assert rate(value) == text


def test_the_share_of_the_peak_is_a_gpus_only() -> None:
    on_gpu, on_cpu = (cells(row(), row(), on_gpu=kind)[HEADINGS.index("MFU")] for kind in (True, False))
    assert on_gpu.endswith("%")
    assert on_cpu == "-"
    assert cells(row(median=None, status="wrong"), row(), on_gpu=True)[2:] == ["-"] * 6


@pytest.mark.parametrize("name", ["mine", "a_name_of_forty_characters_as_all_may_be_"])
def test_eighty_columns_hold_the_table_and_no_number_is_folded(name: str) -> None:
    rows = [
        row(error_over_tolerance=0.069),
        row(name, median=6.1e-5, half=69.0, error_over_tolerance=0.00012),
        row(f"{name[:38]}_2", median=123.4e-6, half=0.9994, error_over_tolerance=1.2e16),
        row("third", median=None, status="unsupported", reason="it needs nvcc"),
    ]
    text = shown(*rows)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    lines = [[cell.strip() for cell in re.split("[│┃]", line)] for line in text.splitlines() if re.search("[│┃]", line)]
    assert {len(line) for line in lines} == {len(HEADINGS)}
    wanted = [list(HEADINGS), *(cells(one, rows[0], on_gpu=True) for one in rows)]
    for place in range(1, len(HEADINGS)):
        assert [word for line in lines for word in line[place].split()] == [word for one in wanted for word in one[place].split()]
    assert "".join(line[0] for line in lines) == "".join(one[0] for one in wanted)
    assert "third: it needs nvcc" in text


def test_each_case_has_a_table_and_implementations_with_one_reason_share_a_line() -> None:
    same = [row(impl, None, status="unsupported", reason="no compiler") for impl in ("a", "b")]
    text = shown(row(), *same, row(precision="bf16"), kind="simulated")
    assert text.count("kernel ") == 2
    assert "a, b: no compiler" in text


def test_a_compiled_kernel_is_a_line_of_what_the_machine_code_shows() -> None:
    good: dict[str, Any] = {
        "impl": "fused",
        "precision": "fp32",
        "variant": "kernel@80",
        "status": "pass",
        "reason": None,
        "registers": 19,
        "spills": 0,
    }
    good |= {"shared_bytes": 16384, "loop": {"matrix": ["HMMA.16816"]}}
    bad = good | {"status": "FAIL", "reason": "no function", "registers": None, "loop": None}
    assert list(compiled_lines([good, bad], "h100_sxm5")) == [
        "fused fp32 kernel@80, compiled for h100_sxm5: pass; 19 registers, 0 spills, 16,384 B shared, HMMA.16816 in the main loop",
        "fused fp32 kernel@80, compiled for h100_sxm5: FAIL; no function",
    ]
