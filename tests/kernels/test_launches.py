"""What code launches: recorded as Triton's launcher specialises it, and compiled for a GPU that is not there."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import triton

from benches.row import Row, new_row
from kernels import interpreter
from kernels.__main__ import parse, parse_dims
from kernels.ahead_of_time import Finding, examine_all
from kernels.ahead_of_time import build as compile_one
from kernels.code_rules import dot_precisions, judge_dots
from kernels.compilation import Compilation, Function
from kernels.example_launches import example_points, launches_of
from kernels.gpus import load_gpu
from kernels.inspect_gather import gather_launches
from kernels.launches import recorded_launches
from kernels.machine_code import MachineCode
from kernels.op import Impl, Inputs, Kernel, Op, Point, Unsupported
from kernels.registry import OPS
from reports.pytest_plugin import kernels_of
from tests.kernels import somebodys_kernels as theirs

ROOT = Path(__file__).resolve().parents[2]
H100 = load_gpu("h100_sxm5")


def launch(function: Any, *arguments: Any, **options: Any) -> list[Compilation]:
    return recorded_launches(lambda: function(*arguments, **options))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("n", [127, 128, 256])
def test_every_configuration_of_an_autotuned_kernel(n: int, dtype: torch.dtype) -> None:
    found = launch(theirs.scale, torch.ones(n, dtype=dtype), 0.5)
    assert [(c.constexprs["B"], c.num_warps, c.num_stages) for c in found] == [(128, 4, 3), (256, 8, 2)]
    kind = {torch.float32: "*fp32", torch.bfloat16: "*bf16"}[dtype]
    for c in found:
        assert c.kernel == "tests.kernels.somebodys_kernels:scale_kernel"
        constants = dict.fromkeys(("step", "F", "B", "EVEN"), "constexpr")
        assert c.signature == {"x": kind, "out": kind, "factor": "fp32", "n": "i32", **constants}
        assert c.constexprs["step"] == 1
        assert c.constexprs["EVEN"] == (n % 16 == 0)
        assert c.constexprs["F"] == Function("tests.kernels.somebodys_kernels:twice")
        assert c.aligned == (("x", "out", "n") if n % 16 == 0 else ("x", "out"))
        assert c.problem == ""
    assert found[1].config == f"B=256 EVEN={n % 16 == 0} w8 s2"


def test_a_configurations_pre_hook_runs_before_its_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Triton's autotuner calls it: it may give descriptors their blocks."""
    seen: list[tuple[int, float]] = []
    tuned = theirs.scale_kernel
    hooked = [triton.Config(c.kwargs, pre_hook=lambda given: seen.append((given["B"], given["factor"]))) for c in tuned.configs]
    monkeypatch.setattr(tuned, "configs", hooked)
    launch(theirs.scale, torch.ones(127), 0.5)
    assert seen[:2] == [(128, 0.5), (256, 0.5)]


def test_the_interpreter_runs_what_is_recorded() -> None:
    x, results = torch.arange(129.0), []
    assert len(recorded_launches(lambda: results.append(theirs.scale(x, 0.5)))) == 2
    assert torch.equal(results[0], x)


def test_each_kind_of_launch_once_and_options() -> None:
    a = torch.ones(64, 64)

    def run() -> None:
        for options in ({}, {}, {"num_warps": 8}, {"num_warps": 8, "maxnreg": 128}, {"num_ctas": 1}):
            theirs.product(a, a, **options)
        theirs.product(a[:32, :32].contiguous(), a[:32, :32].contiguous())

    found = recorded_launches(run)
    assert [(c.config, c.options) for c in found] == [
        ("B=64 PRECISION=tf32 w4 s3", {}),
        ("B=64 PRECISION=tf32 w8 s3", {}),
        ("B=64 PRECISION=tf32 w8 s3 maxnreg=128", {"maxnreg": 128}),
        ("B=32 PRECISION=tf32 w4 s3", {}),
    ]
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize(("offset", "aligned"), [(0, True), (1, False), (4, True)])
def test_the_alignment_of_a_slice(offset: int, aligned: bool) -> None:
    a = torch.zeros(64 * 64 + offset)[offset:].view(64, 64)
    (found,) = launch(theirs.product, a, torch.ones(64, 64))
    assert ("a" in found.aligned) == aligned


def test_arguments_inside_a_tuple() -> None:
    x, y = torch.ones(64, dtype=torch.int32), torch.zeros(65, dtype=torch.int32)[1:]
    (found,) = recorded_launches(lambda: theirs.strided_kernel[(1,)]((x, y), (1, 1), 32))
    assert found.signature["tensors"] == ("*i32", "*i32")
    assert found.constexprs[1, 0] == 1
    assert found.aligned == ((0, 0),)


def test_an_option_that_no_gpu_takes_is_refused_as_by_the_launcher() -> None:
    with pytest.raises(KeyError, match="num_wraps"):
        launch(theirs.product, torch.ones(16, 16), torch.ones(16, 16), num_wraps=4)


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        (
            theirs.nested(),
            "inner_kernel is defined inside a function of tests.kernels.somebodys_kernels: move it to the top level of its file",
        ),
        (theirs.first_rebound[(1,)], "tests.kernels.somebodys_kernels:rebound_kernel is another object by now: give each"),
    ],
)
def test_what_no_other_process_finds_is_unsupported_with_the_reason(run: Any, problem: str) -> None:
    (found,) = launch(run, torch.ones(16))
    assert found.problem.startswith(problem)
    finding = compile_one(found, H100)
    assert isinstance(finding, Finding)
    assert (finding.status, finding.reasons) == ("unsupported", [found.problem])


@pytest.mark.slow
def test_launches_are_compiled_by_other_processes_and_judged() -> None:
    """Also by the process of an interpreter, as this one is where no GPU is."""
    half, single = torch.ones(64, 64, dtype=torch.bfloat16), torch.ones(64, 64)
    small = half[:16, :16].contiguous()

    def run() -> None:
        theirs.scale(torch.ones(128), 0.5)
        theirs.product(half, half)
        theirs.product(small, small)
        theirs.product(single, single)
        theirs.product(single, single, precision="ieee")
        x = torch.ones(64, dtype=torch.int32)
        theirs.strided_kernel[(1,)]((x, x), (1, 2), 32)
        theirs.uncompilable_kernel[(1,)](x)

    found = [replace(c, precision="bf16" if "*bf16" in c.signature.values() else "fp32") for c in recorded_launches(run)]
    findings = examine_all(found, H100, 2)
    rounds = 'tl.dot rounds fp32 operands to TF32, which no CPU run shows: give it input_precision="ieee"'
    assert [(f.status, f.reasons) for f in findings[:-1]] == [("pass", [])] * 4 + [("fail", [rounds])] + [("pass", [])] * 2
    used = [{name for name in ("HGMMA", "HMMA") if f.code and f.code.instructions.get(name)} for f in findings[2:6]]
    assert used == [{"HGMMA"}, {"HMMA"}, {"HGMMA"}, set()]
    assert findings[-1].status == "fail"
    (reason,) = findings[-1].reasons
    assert reason.startswith("does not compile: CompilationError: at 2:")
    assert "global variable SIZE" in reason


ALL = "theirs.scale(torch.ones(129), 0.5); theirs.product(torch.ones(64, 64), torch.ones(64, 64), maxnreg=64)"


@pytest.mark.slow
def test_a_process_that_compiles_records_what_the_interpreter_records() -> None:
    """It has no GPU to run anything on."""
    code = (
        f"import torch; from kernels.launches import recorded_launches; from tests.kernels import somebodys_kernels as theirs\n"
        f"def run(): {ALL}\n"
        "print(recorded_launches(run))"
    )
    environment = {name: value for name, value in os.environ.items() if name != interpreter.VARIABLE}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=True)
    interpreted = recorded_launches(lambda: exec(ALL, {"torch": torch, "theirs": theirs}))
    assert done.stdout.strip() == str(interpreted)
    assert len(interpreted) == 3


TTIR = """
    %12 = tt.dot %10, %11, %acc, inputPrecision = tf32 : tensor<64x32xbf16, #x> * tensor<32x64xbf16> -> tensor<64x64xf32> loc(#loc)
    %13 = tt.dot %10, %11, %acc, inputPrecision = tf32 : tensor<64x32xf32> * tensor<32x64xf32> -> tensor<64x64xf32>
    %14 = tt.dot %1, %2, %acc {maxNumImpreciseAcc = 7 : i32} : tensor<4x64x32xf8E4M3FN> * tensor<4x32x64xf8E4M3FN> -> tensor<4x64x64xf32>
    %15 = tt.load %10 : tensor<64x32x!tt.ptr<f16>>
"""


@pytest.mark.parametrize(
    ("ttir", "precisions"),
    [(TTIR, ("bf16", "fp8_e4m3", "tf32")), ("%1 = tt.dot %a, %b, %c : tensor<16x16xf32> * tensor<16x16xf32> -> x", ("fp32",)), ("", ())],
)
def test_the_precisions_of_products(ttir: str, precisions: tuple[str, ...]) -> None:
    assert dot_precisions(ttir) == precisions


@pytest.mark.parametrize(
    ("dots", "precision", "instruction", "reasons"),
    [
        (("bf16",), "bf16", "HGMMA", []),
        (("bf16",), "bf16", "HMMA", []),
        (("bf16",), "bf16", "FFMA", ["no HGMMA, HMMA or UTCHMMA: tl.dot in bf16 runs on other units"]),
        (("fp8_e5m2",), "fp8_e5m2", "HMMA", ["no QGMMA, QMMA or UTCQMMA: tl.dot in fp8_e5m2 runs on other units"]),
        (("fp8_e5m2",), "fp8_e5m2", "QGMMA", []),
        (("fp32",), "fp32", "FFMA", []),
        (("tf32",), "tf32", "HGMMA", []),
        ((), "bf16", "FFMA", []),
    ],
)
def test_products_are_judged(dots: tuple[str, ...], precision: str, instruction: str, reasons: list[str]) -> None:
    assert judge_dots(dots, precision, MachineCode(32, 0, {instruction: 4}, 0)) == reasons


def build(point: Point, inputs: Inputs) -> Kernel:
    if point.precision == "fp8_e5m2":
        raise Unsupported("nobody needs fp8_e5m2")
    if point.precision == "fp16":
        raise ValueError("of two\nlines")
    return Kernel(lambda: inputs.operands[0] if point.precision == "tf32" else theirs.scale(inputs.operands[0], 0.5))


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> Op:
    """An elementwise op with somebody's own implementation."""
    impl = Impl("mine", f"{__name__}:build", lambda point, platform: "no" if point.precision == "fp8_e4m3" else None, language="triton")
    monkeypatch.setitem(OPS["elementwise"].impls, "mine", impl)  # type: ignore[arg-type]
    return OPS["elementwise"]


@pytest.mark.slow
def test_an_implementation_at_example_shapes(mine: Op) -> None:
    found, failures = launches_of(mine, mine.impls["mine"], H100)
    points = list(example_points(mine, mine.impls["mine"], H100, None))
    assert len(points) == 10
    ragged = [point for point in points if any(size % 16 for size in point.dims.values())]
    assert len(ragged) == 5
    assert {c.precision for c in found if not c.problem} == {"fp32", "bf16"}
    assert {(c.op, c.impl, c.variant.partition("@")[0]) for c in found if not c.problem} == {("elementwise", "mine", "scale_kernel")}
    assert len({c.id for c in found}) == 2 * 2 * 2 + 1  # precisions, shapes, configurations; and what is unsupported
    assert [c.problem for c in found if c.problem] == ["nobody needs fp8_e5m2"]
    assert [line.partition(": ")[2] for line in failures] == [
        *['launches no Triton kernel, although its language is "triton"'] * 2,  # in tf32
        *["its launches cannot be recorded: ValueError: of two"] * 2,  # in fp16
    ]


def test_what_a_run_gives_to_inspect(mine: Op) -> None:
    """Shipped kernels by their configs, an imported implementation by its name, whose launches then pass the filter."""

    def row(impl: str, config: str | None) -> Row:
        point = mine.point(impl, "bf16", {"m": 64, "n": 64}, {"function": "add"})
        return new_row(point, mine.cost(point, "cpu"), "verified", None, config=config)

    assert kernels_of(row("mine", None)) == ["elementwise:bf16:mine"]
    assert kernels_of(row("triton", "a w4 + b w8")) == ["elementwise:bf16:a w4", "elementwise:bf16:b w8"]
    assert kernels_of(row("triton", None)) == []
    assert kernels_of(row("torch", "x")) == []
    found, _ = gather_launches([mine], H100, ["elementwise:bf16:mine"], {"m": 64, "n": 64})
    assert {(c.precision, c.impl) for c in found} == {("bf16", "mine")}
    assert len(found) == 2


def test_given_dims(mine: Op) -> None:
    points = list(example_points(mine, mine.impls["mine"], H100, {"m": 3, "n": 32}))
    assert {tuple(point.dims.items()) for point in points} == {(("m", 3), ("n", 32))}
    assert launches_of(mine, mine.impls["mine"], H100, {"m": 3}) == (
        [],
        ["FAIL elementwise-mine: no example shape: missing dim n: give --dims"],
    )


def test_sizes_on_the_command_line() -> None:
    assert parse_dims("m=4096, n = 127") == {"m": 4096, "n": 127}
    asked = parse(["inspect", "--op", "matmul", "--dims", "m=1,n=2,k=3"])
    assert asked.dims == {"m": 1, "n": 2, "k": 3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dims", "m=1"], "--dims: give --op as well"),
        (["--op", "matmul", "--dims", ""], "--dims: '' is not a size: write m=4096,n=4096"),
        (["--op", "matmul", "--dims", "m=1,,n=2"], "--dims: '' is not a size"),
        (["--op", "matmul", "--dims", "m"], "--dims: 'm' is not a size"),
        (["--op", "matmul", "--dims", "=3"], "--dims: '=3' is not a size"),
        (["--op", "matmul", "--dims", "m=0"], "--dims: 'm=0' is not a size"),
        (["--op", "matmul", "--dims", "m=-1"], "--dims: 'm=-1' is not a size"),
        (["--op", "matmul", "--dims", "m=²"], "--dims: 'm=²' is not a size"),
        (["--op", "matmul", "--dims", "m=1,m=2"], "--dims: m is given twice"),
    ],
)
def test_wrong_sizes_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["inspect", *arguments])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_shipped_implementations_take_example_shapes() -> None:
    for name in ("matmul", "elementwise", "layout", "gradient"):
        op = OPS[name]
        impl = op.impls[op.baseline]
        assert list(example_points(op, impl, H100, None)), name
