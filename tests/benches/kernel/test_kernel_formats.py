"""Files of other formats: what each becomes, and one line for each mistake."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from benches.devices.tensors import TensorWorkload
from benches.kernel.formats import read
from benches.kernel.problem import FormatError, Problem, name_of_op
from kernels.guard import ROOT
from kernels.registry import NAME, OPS

EXAMPLES = ROOT / "examples"
FLASHINFER = tuple(EXAMPLES / "flashinfer" / f"{name}.json" for name in ("definition", "solution", "workload"))
MODEL = """
import torch
class Model(torch.nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(width))
    def forward(self, x):
        return x * self.weight
def get_inputs():
    return [torch.rand(5, 3)]
def get_init_inputs():
    return [3]
"""
NEW = "import torch\nclass ModelNew(torch.nn.Module):\n    def __init__(self, width):\n        super().__init__()\n"
NEW += "        self.weight = torch.nn.Parameter(torch.randn(width))\n    def forward(self, x):\n        return "


def problem_of(folder: Path, *texts: str) -> Problem:
    paths = []
    for place, text in enumerate(texts):
        paths.append(folder / f"{'abc'[place]}_problem.py")
        paths[-1].write_text(text, encoding="utf-8")
    return read(tuple(paths), folder / "sources")


def verdict_of(problem: Problem, impl: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(OPS, problem.op.name, problem.op)
    point = problem.op.point(impl, problem.precisions[0], problem.shapes[0])
    workload = TensorWorkload(point, point, "cpu", 1)
    workload.launch()
    return workload.verify()


@pytest.mark.slow  # the first use of PyTorch's FLOP counter takes seconds
@pytest.mark.parametrize("impl", ["torch", "model_new"])
def test_the_kernelbench_example_is_right(impl: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = read((EXAMPLES / "kernelbench.py",), EXAMPLES)
    assert verdict_of(problem, impl, monkeypatch).ok
    assert problem.op.cost(problem.op.point(impl, "fp32", problem.shapes[0]), "cpu").flops == 2 * 129 * 127 * 127


@pytest.mark.parametrize("impl", ["torch", "row_scale_norm"])
def test_the_flashinfer_example_is_right(impl: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = read(FLASHINFER, tmp_path)
    assert problem.shapes == ({"M": 129},)
    assert verdict_of(problem, impl, monkeypatch).ok


@pytest.mark.parametrize(("result", "right"), [("x * self.weight", True), ("x * self.weight * 1.02", False), ("x", False)])
def test_a_solution_in_a_second_file_has_the_weights_of_the_reference(
    result: str, right: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = problem_of(tmp_path, MODEL, NEW + result)
    assert problem.op.name == "a_problem"
    assert verdict_of(problem, "model_new", monkeypatch).ok == right


def test_sets_differ_and_weights_do_not(tmp_path: Path) -> None:
    make = problem_of(tmp_path, MODEL).op.load("make_inputs")
    point = problem_of(tmp_path, MODEL).op.point("torch", "fp32", {"elements": 15})
    (first, weight), (second, same), (again, _) = (make(point, "cpu", seed).operands for seed in (1, 2, 1))
    assert not torch.equal(first, second)
    assert torch.equal(first, again)
    assert torch.equal(weight, same)


def test_inputs_that_are_no_tensors_and_results_in_a_tuple(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = MODEL.replace("(self, x)", "(self, x, axis, scale)").replace("x * self.weight", "(x * self.weight).sum(axis), x * scale[0]")
    problem = problem_of(tmp_path, text.replace("torch.rand(5, 3)]", "torch.rand(5, 3), -1, [0.5]]"))
    assert verdict_of(problem, "torch", monkeypatch).ok


def test_cuda_source_without_nvcc_is_unsupported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    load = "from torch.utils.cpp_extension import load_inline\nmade = load_inline(name='a', cuda_sources='')\n"
    problem = problem_of(tmp_path, MODEL, load + NEW + "made.scale(x)")
    point = problem.op.point("model_new", "fp32", problem.shapes[0])
    assert "nvcc" in str(problem.op.impls["model_new"].refuses(point, None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("1_Square_matrix", "kernelbench_1_square_matrix"),
        ("Softmax-new", "softmax_new"),
        ("skip", "kernelbench_skip"),
        ("bf16", "kernelbench_bf16"),
        ("matmul", "kernelbench_matmul"),  # an op of the suite
        ("é", "kernelbench"),
    ],
)
def test_what_a_file_is_called_names_its_op(text: str, name: str) -> None:
    assert name_of_op(text, "kernelbench") == name


def test_long_names_that_differ_at_their_ends_stay_different() -> None:
    names = {name_of_op(f"gqa_paged_prefill_causal_h32_kv8_d128_ps{size}", "definition") for size in (1, 16, 64)}
    assert len(names) == 3
    assert all(NAME.fullmatch(name) for name in names)


NORMALISED = """
import torch
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.drop = torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.5)
    def forward(self, x):
        return self.drop(self.norm(x))
def get_inputs():
    return [torch.rand(50, 3)]
def get_init_inputs():
    return []
class ModelNew(torch.nn.Module):
    def forward(self, x):
        variance, mean = torch.var_mean(x, 0, correction=0)
        return (x - mean) * torch.rsqrt(variance + 1e-5)
"""


@pytest.mark.parametrize("impl", ["torch", "model_new"])
def test_models_are_in_training_mode_as_in_kernelbench_without_dropout(impl: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert verdict_of(problem_of(tmp_path, NORMALISED), impl, monkeypatch).ok


MALFORMED = [
    ("x = 1", "nothing to measure: looked for"),
    ("def f(:", "1: SyntaxError"),
    (NEW + "x", "there is no Model"),
    (MODEL.replace("def get_inputs", "def get_input"), "there is no get_inputs"),
    (MODEL.replace("return [torch.rand(5, 3)]", "return torch.rand(5, 3)"), "get_inputs returns Tensor: return a list"),
    (MODEL.replace("return [torch.rand(5, 3)]", "return [1]"), "get_inputs returns no tensor"),
    (MODEL.replace("return [torch.rand(5, 3)]", "return [1 / 0]"), ":10: ZeroDivisionError: division by zero; it was raised by get_inputs"),
    (MODEL.replace("return [3]", "return 3"), "get_init_inputs returns int"),
    (MODEL.replace("super().__init__()", "raise ValueError('no')"), ":5: ValueError: no; it was raised by the constructor of Model"),
    (MODEL.replace("return [3]", "return [3, 4]"), "TypeError"),
    ("raise OSError('gone')\n" + MODEL, ":1: OSError: gone"),
    ("import not_there_at_all\n" + MODEL, "there is no module 'not_there_at_all'"),
]


@pytest.mark.parametrize(("text", "message"), MALFORMED)
def test_a_malformed_kernelbench_file_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError) as caught:
        problem_of(tmp_path, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


def changed(place: int, path: str, value: Any) -> tuple[int, str]:
    """The text of one of the example's files with the value at a path replaced; None: taken out."""
    document = json.loads(FLASHINFER[place].read_text())
    *way, last = path.split("/")
    inner = document
    for key in way:
        inner = inner[key]
    inner.pop(last) if value is None else inner.update({last: value})
    return place, json.dumps(document)


BROKEN = [
    ((0, "{"), "definition.json:1: is not JSON"),
    ((0, "[1]"), "needs a JSON object"),
    ((0, "{}"), "is neither a definition"),
    (changed(0, "reference", "def f(): pass"), "there is no function run"),
    (changed(0, "reference", "def f(:"), "SyntaxError"),
    (changed(0, "axes/N", {"type": "const"}), "axes.N.value is None"),
    (changed(0, "inputs/x", {"shape": ["K"], "dtype": "float32"}), "['K'] is not a list of axes; axes: M, N"),
    (changed(0, "inputs/x", {"shape": ["M"], "dtype": "float4_e2m1"}), "'float4_e2m1' is not supported"),
    (changed(0, "name", None), "name is missing"),
    (changed(1, "spec/entry_point", "other.py::run"), "spec.entry_point is 'other.py::run'"),
    (changed(1, "spec/entry_point", "main.py::go"), "there is no function go"),
    (changed(1, "definition", "another"), "definition is 'another'"),
    (changed(1, "sources", [{"path": "../main.py", "content": "x"}, {"path": "main.py", "content": "x"}]), "leads out of"),
    (changed(1, "sources", "text"), "sources needs a list"),
    (changed(2, "workload/axes", {}), "axes.M has no value"),
    (changed(2, "workload/axes", {"M": 0}), "axes.M is 0"),
    (changed(2, "workload/inputs/eps", {"type": "scalar"}), "inputs.eps.value is None"),
    (changed(2, "workload/inputs/eps", {"type": "random"}), "random does not fit"),
]


def read_changed(change: tuple[int, str], folder: Path) -> Problem:
    paths = [folder / path.name for path in FLASHINFER]
    for path, original in zip(paths, FLASHINFER, strict=True):
        path.write_text(original.read_text())
    paths[change[0]].write_text(change[1])
    return read(tuple(paths), folder / "sources")


@pytest.mark.parametrize(("change", "message"), BROKEN)
def test_a_malformed_flashinfer_file_is_one_line(change: tuple[int, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError) as caught:
        read_changed(change, tmp_path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_language_that_cannot_be_run_is_unsupported(tmp_path: Path) -> None:
    op = read_changed(changed(1, "spec/language", "cuda"), tmp_path).op
    reason = op.impls["row_scale_norm"].refuses(op.point("row_scale_norm", "fp32", {"M": 3}), None)  # type: ignore[arg-type]
    assert reason == "the language cuda is not supported; supported: python, triton"


def test_a_workload_of_tensors_in_files_is_left_out_with_a_note(tmp_path: Path) -> None:
    problem = read_changed(changed(2, "workload/inputs/x", {"type": "safetensors", "path": "x", "tensor_key": "x"}), tmp_path)
    assert problem.shapes == ()
    assert "'safetensors'" in problem.notes[0]


RETURNS = "import torch\ndef run(matrix, least):\n    return torch.nn.functional.rms_norm(matrix, matrix.shape[-1:], eps=least)\n"
WRITES = "import torch\ndef run(x, eps, y):\n    y.copy_(torch.nn.functional.rms_norm(x, x.shape[-1:], eps=eps))\n"


@pytest.mark.parametrize(
    ("style", "content"),
    [(True, WRITES), (None, WRITES), (None, WRITES.replace("x, eps, y):", "*given):\n    x, eps, y = given")), (None, RETURNS)],
)
def test_a_solution_may_write_into_the_outputs(style: bool | None, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solution = json.loads(FLASHINFER[1].read_text())
    solution["spec"]["destination_passing_style"] = style
    solution["sources"] = [{"path": "main.py", "content": content}]
    problem = read_changed((1, json.dumps(solution)), tmp_path)
    assert verdict_of(problem, "row_scale_norm", monkeypatch).ok
