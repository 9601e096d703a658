"""An op that is only registered: its points are planned, checked, timed, self-tested and given planted errors like any other's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from benches.devices.cpu import CpuDevice
from benches.doctor import selftest
from benches.plan import make_plan
from benches.row import TIMED, Row
from benches.sweep.load import load_sweep
from benches.timing.measure import measure
from kernels import support, tolerances
from kernels.gpus import Ceilings, load_gpu
from kernels.op import Cost, Impl, Inputs, Kernel, Op, Point
from kernels.precisions import PRECISIONS
from kernels.registry import OPS, point_of
from kernels.support import DeviceKind, Platform
from kernels.tensors import Maker
from studies import planted, planted_any

CEILINGS = Ceilings(peak_flops_per_s={"fp32": 1e11}, bandwidth_bytes_per_s=1e10)
SWEEP = "sweeps:\n  - {op: scale_rows, precision: [fp32, bf16], dims: {m: 64, n: [48, 131]}}\n"


def make_inputs(point: Point, device: str, seed: int | None) -> Inputs:
    maker = Maker("normal", device, seed)
    m, n = point.dims["m"], point.dims["n"]
    operands = (maker.tensor((m, n), point.precision), maker.tensor((m,), point.precision))
    return Inputs(operands, maker.empty((m, n), point.precision))


def reference(point: Point, operands: tuple[torch.Tensor, ...]) -> torch.Tensor:
    x, s = (t.double() for t in operands)
    return x * s[:, None]


def tolerance(point: Point, operands: tuple[torch.Tensor, ...], expected: torch.Tensor) -> torch.Tensor:
    return tolerances.pointwise(expected, expected.abs(), point.precision)


def build(point: Point, inputs: Inputs) -> Kernel:
    x, s = inputs.operands
    return Kernel(lambda: torch.mul(x, s[:, None], out=inputs.out))


def cost(point: Point, device: DeviceKind) -> Cost:
    m, n, size = point.dims["m"], point.dims["n"], PRECISIONS[point.precision].bytes
    return Cost(m * n, (m * n + m) * size, m * n * size, (2 * m * n + m) * size)


def refuses(point: Point, platform: Platform) -> str | None:
    return support.NO_FP8_ARITHMETIC if support.is_fp8(point.precision) else support.no_products(point.precision, "rows are scaled in fp32")


@pytest.fixture
def op(monkeypatch: pytest.MonkeyPatch) -> Op:
    """A registered op whose code Python finds in a package of its own."""
    package, data, own = ModuleType("scale_rows"), ModuleType("scale_rows.data"), ModuleType("scale_rows.torch_impl")
    vars(data).update(make_inputs=make_inputs, reference=reference, tolerance=tolerance)
    vars(own).update(build=build)
    vars(package).update(data=data, torch_impl=own)
    for module in (package, data, own):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    made = Op.define(
        "scale_rows",
        "scale_rows",
        "Multiplies each row of a matrix by its own number.",
        options={},
        dims=("m", "n"),
        cost=cost,
        small={"m": 19, "n": 23},
        impls=[Impl("torch", "torch_impl:build", refuses)],
    )
    monkeypatch.setitem(OPS, "scale_rows", made)
    return made


@pytest.fixture
def points(op: Op, tmp_path: Path) -> tuple[Point, ...]:
    path = tmp_path / "rows.yaml"
    path.write_text(SWEEP, encoding="utf-8")
    return load_sweep(path).points


def test_what_define_derives(op: Op) -> None:
    assert (op.make_inputs, op.reference, op.tolerance) == tuple(
        f"scale_rows.data:{role}" for role in ("make_inputs", "reference", "tolerance")
    )
    assert op.impls["torch"].build == "scale_rows.torch_impl:build"
    assert op.shrink(op.point("torch", "fp32", {"n": 4096, "m": 5})).dims == {"m": 5, "n": 23}


def test_another_packages_implementation_keeps_its_place() -> None:
    impls = [Impl("own", "somewhere.else:build", refuses)]
    made = Op.define("x", "x", "An op.", options={}, dims=("m",), small={"m": 1}, cost=cost, impls=impls)
    assert made.impls["own"].build == "somewhere.else:build"


def test_it_is_planned(points: tuple[Point, ...], tmp_path: Path) -> None:
    plan = make_plan(load_sweep(tmp_path / "rows.yaml"), load_gpu("h100_sxm5"))
    assert [point.id for point in plan.points] == [f"scale_rows-torch-{p}-64x{n}" for n in (48, 131) for p in ("fp32", "bf16")]
    assert plan.runs.all()


@pytest.mark.slow
def test_it_is_checked_and_timed_and_its_row_is_found_again(points: tuple[Point, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benches.timing.measure.source_hash", lambda op, impl: None)  # the op is made in this test and has no source file
    row = measure(points[0], CpuDevice(CEILINGS), 1)
    assert row.status in TIMED, row.reason
    found = point_of(row)
    assert found is not None
    assert found.id == points[0].id


class Checker:
    """Measures on the CPU, in this process."""

    def __init__(self) -> None:
        self._device = CpuDevice(CEILINGS)
        self.platform = self._device.platform

    def row_of(self, point: Point, timing: bool) -> Row:
        return measure(point, self._device, 1, timing)


@pytest.mark.slow
def test_it_is_self_tested_or_its_missing_sweep_is_named(points: tuple[Point, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benches.timing.measure.source_hash", lambda op, impl: None)
    checks = self_test(monkeypatch, {"scale_rows": []})
    assert [(c.op, c.verdict, c.detail) for c in checks] == [
        ("scale_rows", "fail", "no shipped sweep has a point of this op: add an entry with `op: scale_rows` to configs/sweeps/smoke.yaml")
    ]
    checks = self_test(monkeypatch, {"scale_rows": list(points)})
    assert {c.precision: c.verdict for c in checks} == {
        **dict.fromkeys(("fp32", "fp16", "bf16"), "pass"),
        **dict.fromkeys(("tf32", "fp8_e4m3", "fp8_e5m2"), "unsupported"),
    }


def self_test(monkeypatch: pytest.MonkeyPatch, examples: dict[str, list[Point]]) -> list[selftest.Check]:
    monkeypatch.setattr(selftest, "shipped_examples", lambda: examples)
    reported: list[selftest.Check] = []
    measurer: Any = Checker()
    report: Callable[[selftest.Check], None] = reported.append
    assert selftest.run(measurer, report) == reported
    return reported


@pytest.mark.slow
def test_errors_are_planted_and_caught(points: tuple[Point, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planted_any, "shipped_examples", lambda: {"scale_rows": list(points)})
    found = list(planted_any.cases(["scale_rows"]))
    assert {(case.point.precision, case.error) for case in found} == {
        (precision, error) for precision in ("fp32", "fp16", "bf16") for error in ("unwritten_end", "neighbours", "other_operand")
    }
    for case in found:
        good, bad = planted.judge(case)
        assert (good.ok, bad.ok) == (True, False), f"{case.point.id} {case.error}"
