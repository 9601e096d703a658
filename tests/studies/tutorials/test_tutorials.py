"""The study of Triton's tutorials, on tutorials that are made up here: what is imported of them, and what is called."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import triton

from kernels.gpus import load_gpu
from studies.tutorials import study
from studies.tutorials.__main__ import main
from studies.tutorials.stand_in import definitions, importable, stand_in
from studies.tutorials.study import load, products, results

H100 = load_gpu("h100_sxm5")
TUTORIAL = '''"""Doc."""
import torch
import triton

DEVICE = triton.runtime.driver.active.get_active_torch_device()
SMS = torch.cuda.get_device_properties("cuda").multi_processor_count


def is_cuda():
    return triton.runtime.driver.active.get_current_target().backend == "cuda" and torch.cuda.get_device_capability()[0] >= 9


CUDA = is_cuda()


def matmul(a, b, activation=""):
    return a.stride(), b.stride()


def matmul_tma(a, b, warp_specialize):
    return a.stride(), b.stride(), warp_specialize


def matmul_get_configs(pre_hook=None):
    return []


torch.manual_seed(1 / 0)
print("computes")
'''


@pytest.fixture(autouse=True)
def put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `stand_in` replaces."""
    for name in ("get_device_capability", "get_device_properties"):
        monkeypatch.setattr(torch.cuda, name, getattr(torch.cuda, name))
    monkeypatch.setattr(triton.runtime.driver, "_active", None)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('"""Doc."""\nx = 1\nf(x)\ny = 2\n', '"""Doc."""\nx = 1\n'),
        ("x = f(1)\n", "x = f(1)\n"),
        ("if True:\n    f()\nelse:\n    g()\nx = 1\n", "\n\n\n\nx = 1\n"),  # which allocates, or is the guard of __main__
        ("for i in y:\n    f()\nx = 1\nf()\n", "\n\nx = 1\n"),
        ("f(\n  1,\n)\n", ""),
    ],
)
def test_a_tutorial_ends_where_it_starts_to_compute(source: str, expected: str) -> None:
    assert definitions(source) == expected
    assert importable(source, (9, 0), 132).partition("\n")[2] == expected


def test_a_tutorial_is_imported_without_a_gpu(tmp_path: Path) -> None:
    (tmp_path / "written.py").write_text(TUTORIAL, encoding="utf-8")
    module = load("a_tutorial", tmp_path / "written.py", tmp_path, H100)
    assert (str(module.DEVICE), module.SMS, module.CUDA) == ("cpu", 132, True)
    assert [name for name, _ in products(module)] == ["matmul", "matmul_tma"]


def test_operands_are_those_of_layout_nt(monkeypatch: pytest.MonkeyPatch) -> None:
    """B is stored (n, k): functions with descriptors take it so, others as its transpose."""
    seen: list[Any] = []
    monkeypatch.setattr(study, "recorded_launches", lambda run: run() or [])

    def product(a: torch.Tensor, b: torch.Tensor, *others: Any) -> None:
        seen.append((a.stride(), b.stride(), *others))

    study.launches("matmul", lambda a, b, c=0: product(a, b))
    study.launches("matmul_tma", lambda a, b, warp_specialize, depth=3: product(a, b, warp_specialize, depth))
    assert seen == [((4096, 1), (1, 4096)), ((4096, 1), (4096, 1), False, 3)]


def test_what_is_the_same_in_all_configs_is_left_out() -> None:
    assert study.short("BLOCK_SIZE_M=128 BLOCK_SIZE_K=64 GROUP_SIZE_M=8 EPILOGUE_SUBTILE=True w8 s3") == "EPILOGUE_SUBTILE=True w8 s3"


def test_what_cannot_be_recorded_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "python" / "tutorials"
    folder.mkdir(parents=True)
    (folder / study.TUTORIALS["tutorial_03"]).write_text("import no_such_module\n", encoding="utf-8")
    monkeypatch.setattr(study, "own", lambda gpu: [])
    records, failures = results(tmp_path, tmp_path, H100, 1)
    assert records == []
    first, second = failures
    assert first.endswith("03-matrix-multiplication.py: ModuleNotFoundError: No module named 'no_such_module'")
    assert "09-persistent-matmul.py: FileNotFoundError" in second


def test_a_checkout_without_tutorials_is_exit_code_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(study, "own", lambda gpu: [])
    monkeypatch.setenv("TRITON_INTERPRET", "1")  # which the command takes out of this process's environment
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: no kernel of the tutorials was recorded")


def test_the_stand_in_answers_for_the_gpu() -> None:
    stand_in((10, 0), 148)
    assert triton.runtime.driver.active.get_current_target().arch == 100
    assert torch.cuda.get_device_properties("cuda") == SimpleNamespace(multi_processor_count=148)
    assert torch.cuda.get_device_capability() == (10, 0)
