"""An implementation's name decides nothing: what is done with it follows from its language and from whether it is compiled."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benches.devices.cpu import CpuDevice
from benches.plan import TORCH_COMPILE_S, TRITON_COMPILE_S, make_plan
from benches.row import Row, new_row
from benches.sweep.load import Sweep
from benches.timing.measure import measure
from kernels import inspect_gather
from kernels.gpus import Ceilings, load_gpu
from kernels.guard import NAMES, ROOT
from kernels.op import Impl, Op, Point
from kernels.registry import OPS, baseline_of, language_of
from kernels.support import Platform
from reports.pick import pairs
from reports.sections.versus import interpreted

CEILINGS = Ceilings(peak_flops_per_s={"fp32": 1e11, "bf16": 1e11}, bandwidth_bytes_per_s=1e10)
H100, CPU, INTERPRETED = Platform("cuda", (9, 0)), Platform("cpu"), Platform("cpu", interpreted=True)


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> Point:
    """A point of elementwise's Triton kernel, renamed "mine"; its eager PyTorch is renamed "triton"."""
    op = OPS["elementwise"]
    impls = {"triton": replace(op.impls["torch"], name="triton"), "mine": replace(op.impls["triton"], name="mine")}
    monkeypatch.setitem(OPS, op.name, replace(op, impls=impls))
    monkeypatch.setattr("kernels.elementwise.data.OP", OPS[op.name])
    return OPS[op.name].point("mine", "fp32", {"m": 64, "n": 64}, {"function": "add"})


def eager(point: Point) -> Point:
    """The same point of PyTorch, which is called triton."""
    return OPS[point.op].point("triton", point.precision, point.dims, point.options)


def test_it_is_run_in_the_interpreter_on_a_cpu_and_never_timed(mine: Point) -> None:
    device = CpuDevice(CEILINGS)
    row = measure(mine, device, 1)
    assert (row.status, row.median_s) == ("verified", None)
    assert "Triton's interpreter" in str(row.reason)
    assert measure(eager(mine), device, 1, timing=False).reason == "correct; timing was switched off"


def test_it_needs_a_gpu_or_the_interpreter_and_then_a_compiler(mine: Point) -> None:
    unsupported = OPS[mine.op].impls["mine"].unsupported
    missing = replace(H100, no_compiler="no C compiler")
    assert [unsupported(mine, place) for place in (H100, INTERPRETED)] == [None, None]
    assert unsupported(mine, CPU) == "Triton needs a GPU or its interpreter"
    assert unsupported(mine, missing) == "no C compiler"
    assert OPS[mine.op].impls["triton"].unsupported(eager(mine), missing) is None


def test_inspect_compiles_it_under_its_name(mine: Point) -> None:
    found = inspect_gather.gather([OPS[mine.op]])
    assert {c.impl for c in found} == {"mine"}
    assert found[0].id.startswith("elementwise-mine-")


def test_inspect_names_what_it_cannot_compile(mine: Point) -> None:
    bare = replace(
        OPS[mine.op], impls={"bare": Impl("bare", "kernels.elementwise.data:reference", lambda point, platform: None, language="triton")}
    )
    assert inspect_gather.gather([bare]) == []
    (line,) = inspect_gather.unlisted([bare, OPS[mine.op]])
    assert line.startswith("FAIL elementwise-bare: kernels.elementwise.data has no compilations()")


def test_a_plan_counts_its_compilation(mine: Point) -> None:
    points = (mine, eager(mine))
    plan = make_plan(Sweep("mine", Path(), points, 0, 0, ()), load_gpu("h100_sxm5"))
    assert plan.specialised == (0,)
    assert plan.rest_s[0] - plan.rest_s[1] == pytest.approx(TRITON_COMPILE_S)


def test_torch_compile_by_another_name_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    op = OPS["matmul"]
    monkeypatch.setitem(
        OPS, op.name, replace(op, impls={"built": replace(op.impls["torch_compile"], name="built"), "torch": op.impls["torch"]})
    )
    points = tuple(OPS["matmul"].point(impl, "bf16", {"m": 64, "n": 64, "k": 64}) for impl in ("built", "torch"))
    plan = make_plan(Sweep("mine", Path(), points, 0, 0, ()), load_gpu("h100_sxm5"))
    assert plan.rest_s[0] - plan.rest_s[1] == pytest.approx(TORCH_COMPILE_S)
    assert baseline_of("matmul") == "torch"


def test_the_page_sets_it_apart_and_compares_it_with_pytorch(mine: Point) -> None:
    rows = [row_of(mine, "verified"), row_of(eager(mine), "verified"), row_of(mine, "ok", 2e-6), row_of(eager(mine), "ok", 1e-6)]
    frame = pd.DataFrame([row.model_dump() | {"dims": str(row.dims), "options": str(row.options)} for row in rows])
    assert interpreted(frame)["impl"].tolist() == ["mine"]
    assert interpreted(frame[:0]).columns.tolist() == frame.columns.tolist()
    paired = pairs(frame[frame["status"] == "ok"])
    assert paired[["impl", "speedup"]].to_numpy().tolist() == [["mine", 0.5]]


def row_of(point: Point, status: str, median_s: float | None = None) -> Row:
    return new_row(point, OPS[point.op].cost(point, "cpu"), status, median_s=median_s)  # type: ignore[arg-type]


def test_an_implementation_of_another_version_has_no_language() -> None:
    assert [language_of(*names) for names in (("matmul", "triton"), ("matmul", "torch"), ("matmul", "mine"), ("other", "triton"))] == [
        *("triton", "torch"),
        *(None, None),
    ]


@pytest.mark.parametrize(("op", "found"), [("matmul", "torch"), ("optimizer", "torch"), ("another version's", "torch")])
def test_baseline(op: str, found: str) -> None:
    assert baseline_of(op) == found


def test_the_baseline_is_what_pytorch_runs_as_written_else_the_first() -> None:
    impls = OPS["matmul"].impls
    assert with_impls(impls["triton"], impls["torch_compile"]).baseline == "triton"
    assert with_impls(impls["triton"], impls["torch_compile"], replace(impls["torch"], name="own")).baseline == "own"


def with_impls(*impls: Impl) -> Op:
    return replace(OPS["matmul"], impls={impl.name: impl for impl in impls})


KINDS = {"triton", "torch_compile", "torch_foreach", "torch_fused"}


def compared(tree: ast.AST) -> list[int]:
    """Lines that compare something called impl with a name."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and "impl" in ast.unparse(node.left).split(".")[-1:]:
            names = {leaf.value for side in node.comparators for leaf in ast.walk(side) if isinstance(leaf, ast.Constant)}
            if names & {*KINDS, "torch"}:
                found.append(node.lineno)
    return found


@pytest.mark.slow
def test_no_code_compares_an_implementation_with_a_name() -> None:
    files = [*(path for folder in NAMES for path in (ROOT / folder).rglob("*.py")), ROOT / "conftest.py"]
    found = {str(path.relative_to(ROOT)): lines for path in files if (lines := compared(ast.parse(path.read_text(encoding="utf-8"))))}
    assert found == {}, "ask what is meant: Impl.language, Impl.compiled, Op.baseline (kernels/op.py)"


@pytest.mark.parametrize(
    ("code", "seen"),
    [("point.impl == 'triton'", True), ("impl in ('torch', 'x')", True), ("row.impl != name", False), ("impl.language == 'triton'", False)],
)
def test_the_rule_sees(code: str, seen: bool) -> None:
    assert bool(compared(ast.parse(code))) == seen
