"""The command `kernel`: its exit codes, and what it prints for the examples and for mistakes."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benches.__main__ import main
from benches.kernel import kernel_command
from benches.kernel.kernel_command import POINT_S, add_command, taken
from benches.row import Row
from benches.run.bench import Bench
from benches.run.isolation import InProcess
from benches.run.journal import read_journal
from kernels import imports, interpreter
from kernels.fingerprint import forget
from kernels.guard import ROOT
from kernels.registry import OPS, registered, restore
from tests.benches.kernel.test_kernel_formats import EXAMPLES, FLASHINFER, MODEL, problem_of, read_changed, verdict_of

OWN = """
from microbench_api import implementation, normal, op
@op("doubled", dims=("m",), inputs=lambda p, d, g: normal(p, d, g, p.dims["m"]), precisions=["fp32", "bf16"], example={"m": 64})
def doubled(x):
    return x * 2
@implementation("doubled", name="added", precisions=["bf16"])
def build(point, inputs):
    return lambda: inputs.operands[0] + inputs.operands[0]
"""
TRITON_MODEL = """
import torch
import triton
import triton.language as tl
class Model(torch.nn.Module):
    def forward(self, x):
        return x * 2
@triton.jit
def double(out, x, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at, mask=at < n) * 2, mask=at < n)
class ModelNew(torch.nn.Module):
    def forward(self, x):
        out = torch.empty_like(x)
        double[(triton.cdiv(x.numel(), 64),)](out, x, x.numel(), BLOCK=64)
        return out
def get_inputs():
    return [torch.rand(5, 27)]
"""
TRITON_SOLUTION = """
import triton
import triton.language as tl
@triton.jit
def kernel(out, x, eps, n, BLOCK: tl.constexpr):
    row, column = tl.program_id(0), tl.arange(0, BLOCK)
    values = tl.load(x + row * n + column, mask=column < n, other=0.0)
    tl.store(out + row * n + column, values * tl.rsqrt(tl.sum(values * values) / n + eps), mask=column < n)
def run(x, eps, y):
    kernel[(x.shape[0],)](y, x, eps, x.shape[1], BLOCK=triton.next_power_of_2(x.shape[1]))
"""


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The command in this process: the worker too, and no page. What workers were started with."""
    started: list[Any] = []

    def start(opening: dict[str, Any], log: Path, limit_s: float, memory_bytes: int | None) -> InProcess:
        started.append((opening, limit_s, memory_bytes))
        return InProcess(Bench(**{**opening, "kind": "simulated"}))

    monkeypatch.setattr(kernel_command, "Isolated", start)
    monkeypatch.setattr(kernel_command, "_make_page", lambda run_dir: None)
    monkeypatch.setattr(interpreter, "choose", lambda kind: None)
    monkeypatch.setattr(imports, "_loaded", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    before, modules = registered(), set(sys.modules)
    yield started
    restore(before)
    for name in set(sys.modules) - modules:
        if name.startswith(imports.PACKAGE):
            del sys.modules[name]
    forget()


def kernel(*arguments: str | Path, run_dir: Path, device: str = "simulated") -> int:
    parser = argparse.ArgumentParser()
    add_command(parser.add_subparsers())
    given = parser.parse_args(["kernel", *map(str, arguments), "--device", device, "--run-dir", str(run_dir)])
    code: int = given.run(given)
    return code


def written(folder: Path, text: str, name: str = "mine.py") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def rows_of(run_dir: Path) -> dict[str, Row]:
    return {row.impl: row for row in read_journal(run_dir).rows}


def test_a_file_of_ones_own_is_measured_at_its_example(worker: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert kernel(written(tmp_path, OWN), run_dir=tmp_path / "run") == 0
    rows = rows_of(tmp_path / "run")
    assert list(rows) == ["torch", "added"] or list(rows) == ["added", "torch"]
    assert {(row.precision, row.dims["m"], row.status) for row in rows.values()} == {("bf16", 64, "ok")}
    assert "doubled bf16, m=64" in capsys.readouterr().out


def test_sizes_and_precision_can_be_given(worker: Any, tmp_path: Path) -> None:
    assert kernel(written(tmp_path, OWN), "--dims", "m=96", "--precision", "fp32", run_dir=tmp_path / "run") == 1  # added takes bf16 only
    rows = rows_of(tmp_path / "run")
    assert (rows["torch"].dims["m"], rows["torch"].status, rows["added"].status) == (96, "ok", "unsupported")


@pytest.mark.parametrize(("device", "limited"), [("simulated", False), ("cpu", True)])
def test_a_worker_has_the_limits_of_a_pytest_session(
    device: str, limited: bool, worker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_command, "free_memory_share", lambda: 4711)
    kernel(written(tmp_path, OWN), run_dir=tmp_path / "run", device=device)
    ((opening, limit_s, memory),) = worker
    assert limit_s == POINT_S
    assert opening["asked"] == ({} if limited else {"max_call_s": pytest.approx(POINT_S / 18)})
    assert memory == (4711 if limited else None)


def test_the_kernelbench_example_through_the_command(worker: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert kernel(EXAMPLES / "kernelbench.py", run_dir=tmp_path / "run") == 0
    assert {row.status for row in rows_of(tmp_path / "run").values()} == {"ok"}
    assert "kernelbench fp32, elements=16383" in capsys.readouterr().out


def test_the_flashinfer_example_through_the_command(worker: Any, tmp_path: Path) -> None:
    assert kernel(*FLASHINFER, run_dir=tmp_path / "run") == 0
    assert set(rows_of(tmp_path / "run")) == {"torch", "row_scale_norm"}
    assert (tmp_path / "run" / "sources" / "row_scale_norm" / "main.py").is_file()


def test_the_dims_of_a_flashinfer_definition_can_be_given(worker: Any, tmp_path: Path) -> None:
    assert kernel(*FLASHINFER, "--dims", "M=7", run_dir=tmp_path / "run") == 0
    assert {row.dims["M"] for row in rows_of(tmp_path / "run").values()} == {7}


MISTAKES = [
    (["missing.py"], "missing.py: there is no such file; looked for"),
    (["empty.py"], "empty.py: there is nothing to measure"),
    (["own.py", "--gpu", "voodoo2"], "error: --gpu: "),
    (["own.py", "--dims", "k=4"], "k"),
    (["own.py", "--precision", "fp7"], "fp7"),
    (["model.py", "--dims", "elements=4"], "--dims: the sizes of a KernelBench problem are set in its file"),
    (["raises.py"], "ZeroDivisionError"),
    ([str(FLASHINFER[0]), str(FLASHINFER[1])], "there is no workload with values for its axes"),
    ([str(FLASHINFER[0]), str(FLASHINFER[1]), "--dims", "M=3"], "the scalar eps has no value: name a workload's file too"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_two(
    arguments: list[str], message: str, worker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    raises = MODEL.replace("return x * self.weight", "return x * self.weight * (1 / 0)")
    for name, text in {"own.py": OWN, "model.py": MODEL, "raises.py": raises, "empty.py": "x = 1\n"}.items():
        written(tmp_path, text, name)
    assert kernel(*arguments, run_dir=tmp_path / "run") == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


@pytest.mark.parametrize("dims", ["m", "m=0", "m=-1", "=3", "m=1.5", ""])
def test_dims_that_are_no_sizes_are_a_usage_error(dims: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        kernel("any.py", "--dims", dims, run_dir=tmp_path)
    assert caught.value.code == 2


def test_a_run_is_not_written_over(worker: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kernel(written(tmp_path, OWN), run_dir=tmp_path / "run")
    capsys.readouterr()
    assert kernel(tmp_path / "mine.py", run_dir=tmp_path / "run") == 2
    assert "already holds a run" in capsys.readouterr().err


def test_the_precisions_are_those_that_an_implementation_takes(worker: Any, tmp_path: Path) -> None:
    imports.load_imports([str(written(tmp_path, OWN)), str(EXAMPLES / "implementation.py")])
    assert taken(OPS["doubled"], ["added"]) == ["bf16"]
    assert taken(OPS["doubled"], []) == ["fp32", "bf16"]
    assert taken(OPS["matmul"], ["in_halves"]) == ["fp32", "bf16"]


@pytest.mark.parametrize(("factor", "right"), [(2, True), (3, False)])
def test_a_triton_model_is_checked_in_the_interpreter(factor: int, right: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of(tmp_path, TRITON_MODEL.replace("mask=at < n) * 2", f"mask=at < n) * {factor}"))
    assert problem.op.impls["model_new"].language == "triton"
    assert verdict_of(problem, "model_new", monkeypatch).ok == right


def triton_solution() -> tuple[int, str]:
    solution = json.loads(FLASHINFER[1].read_text())
    solution["spec"] |= {"language": "triton", "destination_passing_style": True}
    solution["sources"] = [{"path": "main.py", "content": TRITON_SOLUTION}]
    return 1, json.dumps(solution)


def test_a_triton_solution_is_right_in_the_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = read_changed(triton_solution(), tmp_path)
    assert problem.op.impls["row_scale_norm"].language == "triton"
    assert verdict_of(problem, "row_scale_norm", monkeypatch).ok


@pytest.mark.memory
@pytest.mark.slow
def test_a_triton_model_on_a_cpu_is_checked_and_compiled(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "benches",
        "kernel",
        str(written(tmp_path, TRITON_MODEL)),
        "--device",
        "cpu",
        "--run-dir",
        str(run_dir),
    ]
    environment = {name: value for name, value in os.environ.items() if name != interpreter.VARIABLE}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows_of(run_dir)["model_new"].status == "verified"
    assert "model_new fp32 double@144, compiled for h100_sxm5: pass; " in done.stdout


@pytest.mark.parametrize(("device", "noted"), [("simulated", True), ("cpu", False)])
def test_a_simulated_device_says_that_no_kernel_was_run(
    device: str, noted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its rows are `ok` and 0 of their tolerance whatever the kernel computes."""
    monkeypatch.setattr("kernels.interpreter.choose", lambda kind: None)
    monkeypatch.setattr(kernel_command, "find", lambda *_: kernel_command.Found("mine.py", (), {}))
    monkeypatch.setattr(kernel_command, "make_sweep", lambda *_: SimpleNamespace(points=()))
    monkeypatch.setattr(kernel_command, "measured_rows", lambda *_: ([], {"device_kind": device}))
    monkeypatch.setattr(kernel_command, "_make_page", lambda run_dir: None)
    assert main(["kernel", "mine.py", "--device", device, "--run-dir", str(tmp_path)]) == 0
    assert ("no kernel was run and no result checked" in capsys.readouterr().out) == noted
