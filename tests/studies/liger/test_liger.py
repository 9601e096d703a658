"""The study of Liger's kernels, without the package: its ops, and what it prints."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from benches.row import Row, new_row
from kernels import imports
from kernels.ahead_of_time import Finding
from kernels.compilation import Compilation
from kernels.gpus import load_gpu
from kernels.machine_code import MachineCode
from kernels.registry import OPS, registered, restore
from kernels.support import Platform
from studies.liger import __main__ as command
from studies.liger import page
from studies.liger.study import ADAPTERS, SHAPES, Result

LIGER = {name.removeprefix("liger_"): name for name in SHAPES}


@pytest.fixture(autouse=True)
def adapters(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The file of adapters as `--import` loads it, known to this test alone."""
    before = registered()
    name = "microbench_import.adapters"
    monkeypatch.setattr(imports, "_loaded", {})
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.delitem(sys.modules, name, raising=False)
    imports.load_imports([ADAPTERS])
    yield sys.modules[name]
    restore(before)
    sys.modules.pop(name, None)


def formula(name: str) -> Callable[..., Any]:
    """The same in other words, in fp64."""
    return {
        "softmax": lambda x: x.exp() / x.exp().sum(-1, keepdim=True),
        "cross_entropy": lambda x, target: x.exp().sum(-1).log() - x.gather(1, target[:, None])[:, 0],
        "rms_norm": lambda x, w: x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * w,
        "layer_norm": lambda x, w, b: (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-6).sqrt() * w + b,
        "swiglu": lambda gate, up: gate / (1 + (-gate).exp()) * up,
        "geglu": lambda gate, up: 0.5 * gate * (1 + (math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3)).tanh()) * up,
        "rope": lambda q, k, cos, sin: tuple(torch.view_as_real(rotated(x, cos, sin)).transpose(-1, -2).flatten(-2) for x in (q, k)),
    }[name]


def rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Pairs of a first and a second half as complex numbers, turned."""
    half = x.shape[-1] // 2
    pairs = torch.view_as_complex(torch.stack([x[..., :half], x[..., half:]], -1))
    return pairs * torch.complex(cos, sin)[..., :half]


@pytest.mark.slow
@pytest.mark.parametrize("name", LIGER)
def test_each_op_is_what_it_is_called(name: str, adapters: Any) -> None:
    op = OPS[LIGER[name]]
    dims = {key: min(size, 34) for key, size in SHAPES[op.name].items()}
    point = op.point("torch", "fp32", dims)
    operands = tuple(t.double() if t.is_floating_point() else t for t in op.load("make_inputs")(point, "cpu", 3).operands)
    torch.testing.assert_close(op.load("reference")(point, operands), formula(name)(*operands), rtol=1e-9, atol=1e-12)


def test_every_op_is_inspected_at_a_shape_of_its_own() -> None:
    for name, shape in SHAPES.items():
        op = OPS[name]
        point = op.point("liger", "bf16", shape)
        assert op.impls["liger"].language == "triton"
        assert op.impls["liger"].unsupported(point, Platform("cuda", (9, 0))) is None
        assert "fp16" in (op.impls["liger"].unsupported(op.point("liger", "fp8_e4m3", shape), Platform("cuda", (9, 0))) or "")


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
