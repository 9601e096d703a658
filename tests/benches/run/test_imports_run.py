"""A run with somebody's own op and implementation: from pytest's command line through the worker into the rows, and on to the reports."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benches.__main__ import main as commands
from benches.devices.cpu import CpuDevice
from benches.doctor import doctor_command, selftest
from benches.plan import make_plan
from benches.run.journal import read_journal
from benches.run.resume import differences
from benches.sweep.load import SweepError, load_sweep
from benches.timing.measure import measure
from kernels import imports
from kernels.__main__ import parse
from kernels.fingerprint import forget
from kernels.gpus import Ceilings, load_gpu
from kernels.guard import ROOT
from kernels.imports import ImportProblem, load_imports
from kernels.registry import OPS, registered, restore
from kernels.support import Platform
from reports.report import load_report

SWEEP = """
sweeps:
  - {op: softmax_rows, precision: [fp32, fp16], dims: {m: 127, n: 129}}
  - {op: matmul, impl: in_halves, precision: [fp32], dims: {m: 67, n: 31, k: 37}}
"""
EXAMPLES = ROOT / "examples"


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(SWEEP, encoding="utf-8")
    return path


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The examples, for one test."""
    before, modules = registered(), set(sys.modules)
    monkeypatch.setattr(imports, "_loaded", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    load_imports([str(EXAMPLES / "op.py"), str(EXAMPLES / "implementation.py")])
    yield
    restore(before)
    for name in set(sys.modules) - modules:
        if name.startswith(imports.PACKAGE):
            del sys.modules[name]
    forget()


def pytest_run(*arguments: str | Path, imported: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "benches/", "-p", "no:cacheprovider", "--benchmark-disable", "-q", "--device", "simulated"]
    environment = os.environ | {imports.VARIABLE: imported}
    return subprocess.run(
        [*command, *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", timeout=300, check=False
    )


@pytest.mark.slow
def test_a_run_with_the_examples(sweep: Path, tmp_path: Path) -> None:
    run_dir, op = tmp_path / "run", tmp_path / "op.py"
    shutil.copy(EXAMPLES / "op.py", op)
    arguments = ("--sweep", sweep, "--import", op, "--run-dir", run_dir)
    done = pytest_run(*arguments, imported="examples/implementation.py")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row.point: row for row in read_journal(run_dir).rows}
    assert {name: (row.status, row.cost_source) for name, row in rows.items()} == {
        "softmax_rows-torch-fp32-127x129": ("verified", "counted"),
        "softmax_rows-fused-fp32-127x129": ("verified", "counted"),
        "softmax_rows-torch-fp16-127x129": ("unsupported", "counted"),
        "softmax_rows-fused-fp16-127x129": ("unsupported", "counted"),
        "matmul-in_halves-fp32-67x31x37": ("verified", "formula"),
    }
    assert len({row.source_hash for row in rows.values()}) == 3
    assert None not in {row.source_hash for row in rows.values()}
    recorded = json.loads((run_dir / "environment.json").read_text(encoding="utf-8"))["imports"]
    assert [(one["spec"], one["path"]) for one in recorded] == [
        ("examples/implementation.py", str(EXAMPLES / "implementation.py")),
        (str(op), str(op.resolve())),
    ]
    # Read without the import, as a report does: this process has loaded neither file.
    assert "softmax_rows" not in OPS
    frame = load_report(run_dir).frame.set_index("point")
    assert frame.loc["softmax_rows-torch-fp32-127x129", "status"] == "verified"
    op.write_text(op.read_text(encoding="utf-8").replace("tl.max(values)", "tl.max(values, 0)"), encoding="utf-8")
    again = pytest_run("--resume", run_dir, "--import", op, imported="examples/implementation.py")
    assert again.returncode == 4
    assert f"cannot be resumed, since this changed: --import {op.resolve()}: {recorded[1]['sha256'][:16]} → " in again.stdout + again.stderr


def test_a_sweep_asks_for_the_import(sweep: Path) -> None:
    with pytest.raises(SweepError) as error:
        load_sweep(sweep)
    assert error.value.problems == [
        f"{sweep}:3: op: unknown op 'softmax_rows'; valid: {', '.join(OPS)}; is it in a file for --import?",
        f"{sweep}:4: impl: unknown impl 'in_halves'; valid: {', '.join(OPS['matmul'].impls)}; is it in a file for --import?",
    ]


def test_resume_names_what_is_no_longer_imported() -> None:
    before = {"imports": [{"spec": "a.py", "path": "/x/a.py", "sha256": "0" * 64}]}
    assert differences(before, {"imports": []}) == [f"--import /x/a.py: {'0' * 16} → not imported"]
    assert differences({}, {"imports": []}) == []
    assert differences(before, before) == []


@pytest.mark.slow
def test_the_examples_are_planned_and_self_tested(sweep: Path, loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(load_sweep(sweep), load_gpu("h100_sxm5"))
    assert [point.id for point, runs in zip(plan.points, plan.runs, strict=True) if runs] == [
        "softmax_rows-torch-fp32-127x129",
        "softmax_rows-fused-fp32-127x129",
        "matmul-in_halves-fp32-67x31x37",
    ]
    assert (plan.prediction.predicted_s[plan.runs] > 0).all()
    monkeypatch.setattr(selftest, "sweep_names", lambda: [])
    found = [point.id for point in selftest.points(lambda language: Platform("cuda", (9, 0)))]
    assert {"softmax_rows-torch-fp32-67x131", "softmax_rows-fused-bf16-67x131"} <= set(found)


@pytest.mark.slow
def test_the_examples_are_right(sweep: Path, loaded: None) -> None:
    device = CpuDevice(Ceilings(peak_flops_per_s={"fp32": 1e11}, bandwidth_bytes_per_s=1e10))
    rows = [measure(point, device, 1, timing=False) for point in load_sweep(sweep).points]
    assert [(row.point, row.tolerance) for row in rows if row.status == "verified"] == [
        ("softmax_rows-torch-fp32-127x129", "derived"),
        ("softmax_rows-fused-fp32-127x129", "derived"),
        ("matmul-in_halves-fp32-67x31x37", "derived"),
    ]


WRONG = "nowhere.py:1: there is no such file to import; name a Python file, or a module without .py"


@pytest.mark.slow
def test_a_wrong_import_ends_pytest_with_one_line() -> None:
    done = pytest_run("--import", "nowhere.py")
    assert (done.returncode, done.stderr.strip()) == (4, f"ERROR: {WRONG}")


def test_a_wrong_import_ends_plan_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands(["plan", "smoke", "--import", "nowhere.py"]) == 2
    assert capsys.readouterr().err == f"{WRONG}\n"


def test_a_wrong_import_ends_inspect_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(["inspect", "--import", "nowhere.py"])
    assert (end.value.code, capsys.readouterr().err) == (2, f"{WRONG}\n")


def test_a_wrong_import_ends_the_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernels.interpreter.choose", lambda kind: None)
    with pytest.raises(ImportProblem, match=r"^nowhere\.py:1: "):
        doctor_command.load(["nowhere.py"], "cpu")
