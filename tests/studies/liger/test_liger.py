"""The study of Liger's kernels, without the package: its formulas against PyTorch's functions, and what it prints."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from benches.row import Row, new_row
from kernels.compilation import Compilation
from kernels.gpus import load_gpu
from kernels.inspect import Finding, MachineCode
from kernels.op import Op
from kernels.registry import OPS
from studies.liger import __main__ as command
from studies.liger import adapters, page
from studies.liger.adapters import CASES, FORMATS
from studies.liger.study import SHAPES, Result

SHAPE = {"rows": 7, "columns": 129, "batch": 2, "heads": 3, "sequence": 5, "head_dim": 16}


@pytest.fixture(autouse=True)
def ops(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The study's ops, known to this test alone."""
    before = dict(OPS)
    adapters.register()
    adapters.register()
    yield
    OPS.clear()
    OPS.update(before)


def operands_of(op: Op, precision: str) -> tuple[Tensor, ...]:
    return adapters.make_inputs(point_of(op, precision), "cpu", 3).operands


def point_of(op: Op, precision: str):
    return op.point("torch", precision, {name: SHAPE[name] for name in CASES[op.name].dims})


@pytest.mark.parametrize("precision", FORMATS)
@pytest.mark.parametrize("name", CASES)
def test_pytorchs_function_is_right_and_a_planted_error_is_not(name: str, precision: str) -> None:
    point, operands = point_of(OPS[name], precision), operands_of(OPS[name], precision)
    expected = adapters.reference(point, operands)
    allowed = adapters.tolerance(point, operands, expected)
    found = CASES[name].torch(*(t.double() if t.is_floating_point() else t for t in operands))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-12)  # a formula of its own beside PyTorch's, both in fp64
    rounded = expected.to(operands[0].dtype).double()
    assert ((rounded - expected).abs() <= allowed).all()
    assert ((expected * 1.02 - expected).abs() > allowed).any()
    assert tuple(expected.shape) == CASES[name].out(point.dims)


def test_every_op_has_a_shape_and_is_refused_in_other_formats() -> None:
    assert SHAPES.keys() == CASES.keys()
    for name, case in CASES.items():
        assert set(SHAPES[name]) == set(case.dims)
        assert OPS[name].impls["liger"].language == "triton"
    assert "bf16" in (adapters.refuses(OPS["liger_rope"].point("liger", "fp8_e4m3", SHAPES["liger_rope"]), None) or "")  # type: ignore[arg-type]


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert command.main([]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: liger-kernel is not installed: pip install --no-deps --target DIR liger-kernel")
    assert captured.out == ""


def row_of(name: str, status: str, reason: str | None = None) -> Row:
    point = OPS[name].point("liger", "bf16", SHAPES[name])
    return new_row(point, OPS[name].cost(point, "cpu"), status, reason, error_over_tolerance=0.25 if status == "verified" else None)


def test_the_table() -> None:
    compilation = Compilation("liger_softmax", "bf16", "kernel", "w8", "m:k", {}, {}, (), 8, 3, "recorded", "liger")
    code = MachineCode(34, 1024, {"STL": 2, "LDL": 3}, 4)
    good = Result("liger_softmax", "bf16", row_of("liger_softmax", "verified"), [Finding(compilation, "pass", [], code)], [])
    spills = Finding(compilation, "fail", ["spills registers: 2 STL, 3 LDL"], code)
    bad = Result("liger_rope", "bf16", row_of("liger_rope", "wrong", "off by one"), [spills], ["FAIL: no"])
    lines = page.table([good, bad])
    assert lines[2] == "| liger_softmax | bf16 | verified | 0.25 | 2 × 4096 | 34 | 5 | 1.0 | 4 | none | pass |"
    assert lines[3].endswith("| wrong | – | 1 × 32 × 2 × 128 | 34 | 5 | 1.0 | 4 | none | fail; spills registers: 2 STL, 3 LDL |")
    assert lines[4].endswith("| – | – | – | – | – | FAIL: no |")
    assert {line.count("|") for line in lines} == {12}
    assert (good.passed, bad.passed) == (True, False)
    assert page.problems([good, bad]) == [
        "liger_rope bf16: wrong: off by one",
        "FAIL: no",
        "liger_softmax-liger-bf16-kernel-w8: spills registers: 2 STL, 3 LDL",
    ]


def test_the_page_has_its_place_for_the_table() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert text.count(page.BEGIN) == 1
    assert text.index(page.BEGIN) < text.index(page.END)
    assert load_gpu("h100_sxm5").name in text
