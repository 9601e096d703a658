"""What only a GPU node runs, over scripted libraries; and, marked `cuda`, the first contact itself where there is a GPU."""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pynvml
import pytest
import torch

from benches.first_contact import board_facts, clockwork, counters, faults, steps
from benches.first_contact.check import Check
from benches.first_contact.steps import Contact
from kernels.guard import ROOT


def names_used(source: ModuleType, module: str) -> set[str]:
    """Attributes of `module` that a file uses."""
    tree = ast.walk(ast.parse(inspect.getsource(source)))
    return {node.attr for node in tree if isinstance(node, ast.Attribute) and ast.unparse(node.value) == module}


@pytest.mark.parametrize("source", [board_facts, faults, counters, steps, clockwork])
@pytest.mark.parametrize(
    ("name", "module"), [("torch.cuda", torch.cuda), ("pynvml", pynvml), ("torch.backends.cudnn", torch.backends.cudnn)]
)
def test_every_name_used_exists(source: ModuleType, name: str, module: ModuleType) -> None:
    assert {attribute for attribute in names_used(source, name) if not hasattr(module, attribute)} == set()


def test_every_name_of_nvml_that_is_made_up_from_parts_exists() -> None:
    assert [name for name in board_facts.POLICIES if not hasattr(pynvml, f"NVML_PERF_POLICY_{name}")] == []


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A scripted NVML: every query of a handle answers 7, `failing` ones raise."""
    script = SimpleNamespace(failing=set(), used=10**9)

    def answer(name: str) -> Any:
        def query(*arguments: Any) -> Any:
            if name in script.failing:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            return 7

        return query

    for name in [name for name in names_used(board_facts, "pynvml") if name.startswith("nvmlDevice") or name.startswith("nvmlSystem")]:
        monkeypatch.setattr(pynvml, name, answer(name))
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", lambda uuid: uuid)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", lambda handle: [])
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", lambda handle: SimpleNamespace(used=script.used))
    monkeypatch.setattr(pynvml, "nvmlDeviceGetViolationStatus", lambda handle, policy: SimpleNamespace(violationTime=5))

    def fields(handle: Any, numbers: list[int]) -> list[Any]:
        code = pynvml.NVML_ERROR_NOT_SUPPORTED if numbers == [268] else pynvml.NVML_SUCCESS
        kind = pynvml.NVML_VALUE_TYPE_UNSIGNED_INT if numbers == [186] else pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG
        return [SimpleNamespace(nvmlReturn=code, valueType=kind, value=SimpleNamespace(uiVal=1, ullVal=2))]

    monkeypatch.setattr(pynvml, "nvmlDeviceGetFieldValues", fields)
    return script


DEVICE = SimpleNamespace(describe=lambda: {"device_uuid": "GPU-1", "device_name": "NVIDIA H100 80GB HBM3"})


def test_every_question_to_nvml_is_answered_or_names_its_error(board: SimpleNamespace) -> None:
    board.failing = {"nvmlDeviceGetEccMode"}
    found = {name: board_facts.latency(question) for name, question in board_facts.board_questions(DEVICE).items()}
    assert {name for name, one in found.items() if "error" in one} == {"ecc", "field 268"}
    assert (found["sm clock"]["answer"], found["memory"]["answer"]) == ("7", str(10**9))
    assert (found["field 186"]["answer"], found["field 269"]["answer"], found["violation thermal"]["answer"]) == ("1", "2", "5")
    assert all(0 <= one["median_s"] <= one["max_s"] for one in found.values() if "error" not in one)
    assert len(found) == 35
    json.dumps(found)


def test_a_board_that_nvml_does_not_know_is_asked_nothing(board: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(uuid: bytes) -> Any:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", refuse)
    assert board_facts.board_questions(DEVICE) == {}


def contact(tmp_path: Path, kind: str = "cuda") -> Contact:
    return Contact(tmp_path, tmp_path, kind, 1, described={"device_uuid": "GPU-1", "gpu": "h100_sxm5"})


def test_memory_in_use(board: SimpleNamespace, tmp_path: Path) -> None:
    assert steps.memory_used(contact(tmp_path)) == 10**9
    assert steps.memory_used(contact(tmp_path, "simulated")) is None


def test_the_endless_kernel_spins_for_years(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch.cuda, "_sleep", asked.append)
    faults.CUDA["endless kernel"]()
    assert asked == [faults.ENDLESS_CYCLES]
    assert asked[0] / 2e9 > 365 * 86400
    assert asked[0] < 2**63


@pytest.mark.slow
def test_the_illegal_access_compiles_for_an_h100() -> None:
    code = (
        "from triton.backends.compiler import GPUTarget\n"
        "from triton.compiler import ASTSource\n"
        "import triton\n"
        "from benches.first_contact.bad_kernel import store_far\n"
        "source = ASTSource(store_far, {'pointer': '*fp32', 'offset': 'i64'}, {})\n"
        "print('st.global' in triton.compile(source, target=GPUTarget('cuda', 90, 32)).asm['ptx'])\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", env=environment, check=False)
    assert done.stdout == "True\n", done.stderr


def ncu_text(hot: float, rotated: float) -> str:
    read = [8e6, *[hot] * (counters.HOT - 1), *[rotated] * counters.SETS]
    lines = [f'"{i}","neg","{counters.METRIC}","byte","{value}"' for i, value in enumerate(read)]
    return "\n".join(["==PROF== Connected", '"ID","Kernel Name","Metric Name","Metric Unit","Metric Value"', *lines])


@pytest.mark.parametrize(
    ("kind", "ncu", "printed", "verdicts"),
    [
        ("simulated", "/ncu", "", ["skipped"]),
        ("cuda", None, "", ["skipped"]),
        ("cuda", "/ncu", "==ERROR== ERR_NVGPUCTRPERM", ["skipped"]),
        ("cuda", "/ncu", ncu_text(0.0, counters.BYTES), ["pass", "pass"]),
        ("cuda", "/ncu", ncu_text(counters.BYTES, counters.BYTES), ["fail", "pass"]),
    ],
)
def test_counters(kind: str, ncu: str | None, printed: str, verdicts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "find_ncu", lambda: ncu)
    monkeypatch.setattr(counters, "profile", lambda path, limit_s: printed)
    checks: list[Check] = list(steps.step_counters(contact(tmp_path, kind)))
    assert [check.verdict for check in checks] == verdicts
    assert all(check.note for check in checks if check.verdict != "pass")


def test_ncu_that_does_not_end_is_unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(path: str, limit_s: float) -> str:
        raise subprocess.TimeoutExpired(path, limit_s)

    monkeypatch.setattr(counters, "find_ncu", lambda: "/ncu")
    monkeypatch.setattr(counters, "profile", hang)
    assert [check.verdict for check in steps.step_counters(contact(tmp_path))] == ["unfinished"]


# On a GPU node: pytest -m cuda tests/


@pytest.fixture(scope="session")
def found_on_gpu(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("first-contact") / "out"
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "benches", "first-contact", "--out", str(out), "--budget", "480"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", env=environment, check=False)
    assert done.returncode in (0, 1, 3), done.stderr
    return json.loads((out / "summary.json").read_text(encoding="utf-8"))


@pytest.mark.cuda
@pytest.mark.slow
@pytest.mark.parametrize("step", [step.name for step in steps.STEPS])
def test_a_gpu_is_as_expected(step: str, found_on_gpu: list[dict[str, Any]]) -> None:
    checks = [check for check in found_on_gpu if check["step"] == step]
    assert checks
    assert [check for check in checks if check["verdict"] in ("fail", "unfinished")] == []
