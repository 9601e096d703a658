"""The machine code of the Triton kernels, and the command that reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from triton._C.libtriton import native_specialize_impl
from triton.backends.compiler import GPUTarget
from triton.compiler import make_backend

from kernels.code_rules import expected_instructions, judge, unsupported
from kernels.compilation import Compilation, specialise
from kernels.gpus import Gpu, load_gpu
from kernels.inspect_gather import gather
from kernels.machine_code import MachineCode, parse_machine_code
from kernels.precisions import PRECISIONS
from kernels.registry import OPS

ROOT = Path(__file__).resolve().parents[2]
GPU = "h100_sxm5"
INSTRUCTION = {"fp32": "FFMA", "tf32": "HGMMA", "fp16": "HGMMA", "bf16": "HGMMA", "fp8_e4m3": "QGMMA", "fp8_e5m2": "QGMMA"}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, encoding="utf-8", check=False)


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of the whole command, run as where an interpreted session left its environment variable behind."""
    path = tmp_path_factory.mktemp("inspect") / "inspect.json"
    done = run("-m", "kernels", "inspect", "--gpu", GPU, "--json", str(path), TRITON_INTERPRET="1")
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(path.read_text(encoding="utf-8"))
    assert (done.returncode == 0) == all(kernel["status"] == "pass" for kernel in found["kernels"])
    assert done.stdout.splitlines()[-1].startswith(f"{GPU}: {len(found['kernels'])} compilations, ")
    assert done.stderr == ""
    return found


@pytest.mark.slow
def test_every_compilation_passes(report: dict[str, Any]) -> None:
    assert [f"{k['id']}: {k['reason']}" for k in report["kernels"] if k["status"] != "pass"] == []


@pytest.mark.slow
def test_nothing_spills_and_shared_memory_fits(report: dict[str, Any]) -> None:
    limit = load_gpu(GPU).shared_memory_per_block_bytes
    assert [k["id"] for k in report["kernels"] if k["spills"] or k["shared_bytes"] > limit] == []


@pytest.mark.slow
def test_every_product_runs_on_the_units_of_its_precision(report: dict[str, Any]) -> None:
    """Counted here from the instructions, not read from the verdict."""
    products = [k for k in report["kernels"] if k["op"] in ("matmul", "einsum") and k["kernel"].endswith(":matmul_kernel")]
    assert {k["precision"] for k in products} == set(PRECISIONS)
    for kernel in products:
        used = {name for name in ("HGMMA", "QGMMA", "HMMA", "QMMA") if name in kernel["instructions"]}
        expected = set() if kernel["precision"] == "fp32" else {INSTRUCTION[kernel["precision"]]}
        assert used == expected, kernel["id"]
        assert INSTRUCTION[kernel["precision"]] in kernel["instructions"], kernel["id"]


@pytest.mark.slow
def test_aligned_16_bit_products_load_asynchronously(report: dict[str, Any]) -> None:
    layouts = OPS["matmul"].options["layout"].choices
    products = [k for k in report["kernels"] if (k["op"], k["precision"]) == ("matmul", "bf16")]
    aligned = [k for k in products if k["variant"] in layouts]
    assert {k["variant"] for k in aligned} == set(layouts)
    for kernel in aligned:
        assert kernel["instructions"].get("LDGSTS") or kernel["instructions"].get("UTMALDG"), kernel["id"]
        assert "LDG" not in kernel["instructions"], kernel["id"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "variant", "most"),
    [
        ("fp8_e4m3", "gelu", 17.5),  # 3.35e12 B/s and 2 bytes an element leave 132 SMs 17.7 instructions at 1.755 GHz
        ("bf16", "gelu", 18),
        ("bf16", "gelu_tanh", 14),
        ("fp8_e4m3", "cast_to_bf16", 4),
        ("bf16", "cast_to_fp32", 4.5),
    ],
)
def test_elementwise_kernels_issue_few_instructions_an_element(report: dict[str, Any], precision: str, variant: str, most: float) -> None:
    (kernel,) = (
        k
        for k in report["kernels"]
        if (k["op"], k["precision"], k["variant"]) == ("elementwise", precision, variant) and "w4" in k["config"]
    )
    block, warps = kernel["config"].split(" w")
    assert kernel["instruction_count"] / (int(block) / (32 * int(warps))) <= most
    assert kernel["shared_bytes"] == 0


def test_every_op_with_a_triton_implementation_is_inspected_once() -> None:
    compilations = gather(OPS.values())
    ids = [c.id for c in compilations]
    assert len(ids) == len(set(ids))
    assert {c.op for c in compilations} == {op.name for op in OPS.values() if any(impl.language == "triton" for impl in op.impls.values())}


FAILING = """
import json
from dataclasses import replace
from kernels.gpus import load_gpu
from kernels.ahead_of_time import build, examine
from kernels.matmul.configs import Config
from kernels.matmul.triton_impl import ALIGNED, compilation

gpu = load_gpu("h100_sxm5")
good = compilation("bf16", Config(128, 128, 64, 8, 4), ALIGNED, "nt", "nt")
cases = {
    "good": good,
    "deep": compilation("bf16", Config(128, 256, 64, 8, 6), ALIGNED, "nt", "nt"),
    "wide_fp32": compilation("fp32", Config(128, 256, 32, 8, 3), ALIGNED, "nt", "nt"),
    "says_fp8": replace(good, precision="fp8_e4m3"),
    "says_fp32": replace(good, precision="fp32"),
    "broken": replace(good, constexprs={**good.constexprs, "BLOCK_M": 100}),
}
findings = examine([build(case, gpu) for case in cases.values()], gpu)
print(json.dumps({name: [f.status, "; ".join(f.reasons)] for name, f in zip(cases, findings, strict=True)}))
"""


@pytest.fixture(scope="session")
def verdicts() -> dict[str, list[str]]:
    done = run("-c", FAILING, TRITON_INTERPRET="")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("deep", "bytes of shared memory; a block of h100_sxm5 can have 232,448"),
        ("wide_fp32", "spills registers"),
        ("says_fp8", "no QGMMA: fp8_e4m3 runs on other units"),
        ("says_fp32", "HGMMA: fp32 must not be rounded for the tensor cores"),
        ("broken", "does not compile: "),
    ],
)
def test_what_cannot_hold_is_reported(verdicts: dict[str, list[str]], case: str, reason: str) -> None:
    assert verdicts["good"] == ["pass", ""]
    status, found = verdicts[case]
    assert status == "fail"
    assert reason in found


# Triton's own launcher, up to the launch: a driver that names an H100 and has none.
LAUNCHER = """
import json
import triton
from triton.backends.compiler import GPUTarget
from kernels.elementwise import triton_impl as elementwise
from kernels.ahead_of_time import compile_for
from kernels.matmul import triton_impl as matmul
from kernels.matmul.configs import configs
from kernels.matmul.pointer_kernels import matmul_kernel

class Driver:
    get_current_device = lambda self: 0
    get_current_stream = lambda self, device: 0
    get_current_target = lambda self: GPUTarget("cuda", 90, 32)

triton.runtime.driver.set_active(Driver())
same = {}

def compare(compilation, kernel, tensors, settings):
    options = {"num_warps": compilation.num_warps, "num_stages": compilation.num_stages}
    launched = kernel.warmup(**tensors, **settings, **options, grid=(1,))
    same[compilation.id] = launched.asm["ptx"] == compile_for(compilation, (9, 0)).asm["ptx"]

for precision, dims, layout in (("bf16", matmul.ALIGNED, "nt"), ("fp8_e4m3", matmul.ALIGNED, "nt"), ("bf16", matmul.RAGGED, "nn")):
    config = configs(precision, dims is matmul.ALIGNED)[0]
    point = matmul.OP.point("triton", precision, dims, {"layout": layout})
    inputs = matmul.make_inputs(point, "meta", None)
    a, b, *scales = inputs.operands
    product = matmul.product_of(a, b, inputs.out)
    tensors = matmul.arguments(product, a, b, inputs.out, config, *scales)
    compilation = matmul.compilation(precision, config, dims, layout, layout)
    compare(compilation, matmul_kernel, tensors, matmul.constants(product, precision, config, matmul.recipe_of(point)))
for function in ("triu", "bias_gelu_residual"):
    point = elementwise.OP.point("triton", "bf16", elementwise.ALIGNED, {"function": function})
    config = elementwise.configs(2, 2)[0]
    call = elementwise.call(point, elementwise.make_inputs(point, "meta", None), config)
    compare(elementwise.compilation("bf16", {"function": function}, 0, elementwise.ALIGNED), *call)
print(json.dumps(same))
"""


@pytest.mark.slow
def test_what_is_inspected_is_what_is_launched() -> None:
    """To the last character of the PTX, for the same tensors."""
    done = run("-c", LAUNCHER, TRITON_INTERPRET="", TRITON_DISABLE_LINE_INFO="1")  # which would hold this checkout's path
    assert done.returncode == 0, done.stderr
    same = json.loads(done.stdout)
    assert len(same) == 5
    assert all(same.values()), same


SASS = """
 Function matmul_kernel:
  REG:168 STACK:0 SHARED:0 LOCAL:0 CONSTANT[0]:640 TEXTURE:0 SURFACE:0 SAMPLER:0
        /*0000*/                   LDC R1, c[0x0][0x28] ;                 /* 0x00000a00ff017b82 */
        /*0010*/              @!P0 LDGSTS.E.BYPASS.LTC128B.128 [R4], desc[UR6][R2.64], P1 ;
        /*0020*/             @!UP0 UIADD3 UR4, UR5, 0x1, URZ ;
        /*0030*/              @P3  LDG.E.128 R4, desc[UR4][R2.64] ;
        /*0040*/                   HGMMA.64x256x16.F32.BF16 R24, gdesc[UR8], R24 ;
        /*0050*/                   STL [R1+0x4], R7 ;
        /*1000*/                   LDL.LU R7, [R1+0x4] ;
"""


def test_disassembly_is_counted() -> None:
    code = parse_machine_code(SASS, 1024)
    assert code.registers == 168
    assert code.instructions == {"LDC": 1, "LDGSTS": 1, "UIADD3": 1, "LDG": 1, "HGMMA": 1, "STL": 1, "LDL": 1}
    assert (code.wide_loads, code.spills, code.shared_bytes) == (2, 2, 1024)


def test_no_machine_code_is_an_error() -> None:
    with pytest.raises(ValueError, match="no machine code"):
        parse_machine_code("", 0)


def compilation(precision: str, expects: Any) -> Compilation:
    pointee = PRECISIONS[precision].triton_dtype
    return Compilation("op", precision, "nn", "c", "m:f", {"a": f"*{pointee}"}, {}, (), 4, 1, expects)


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    return load_gpu(GPU)


@pytest.mark.parametrize(
    ("precision", "expects", "code", "reasons"),
    [
        ("bf16", "dot", MachineCode(168, 232_448, {"HGMMA": 4}, 0), 0),
        ("bf16", "dot", MachineCode(168, 232_449, {"HGMMA": 4}, 0), 1),
        ("bf16", "dot", MachineCode(255, 1024, {"HGMMA": 4, "STL": 1}, 0), 1),
        ("bf16", "dot", MachineCode(168, 1024, {"HMMA": 4}, 0), 1),
        ("fp8_e5m2", "dot", MachineCode(168, 1024, {"QGMMA": 4}, 0), 0),
        ("fp32", "dot", MachineCode(168, 1024, {"FFMA": 4}, 0), 0),
        ("fp32", "dot", MachineCode(168, 1024, {"HGMMA": 4, "STL": 1}, 0), 3),
        ("bf16", "wide", MachineCode(32, 0, {"LDG": 8}, 0), 1),
        ("bf16", "wide", MachineCode(32, 0, {"LDG": 1}, 1), 0),
        ("bf16", "wide_stores", MachineCode(32, 0, {"LDG": 8, "STG": 8}, 0, 7), 0),
        ("bf16", "wide_stores", MachineCode(32, 0, {"LDG": 8, "STG": 8}, 8, 0), 1),
        ("bf16", "any", MachineCode(32, 0, {"LDG": 8}, 0), 0),
    ],
)
def test_judgement(gpu: Gpu, precision: str, expects: str, code: MachineCode, reasons: int) -> None:
    assert len(judge(compilation(precision, expects), code, gpu)) == reasons


@pytest.mark.parametrize(
    ("precision", "capability", "expected"),
    [
        ("bf16", (8, 0), ("HMMA",)),
        ("bf16", (9, 0), ("HGMMA",)),
        ("tf32", (10, 0), ("UTCHMMA",)),
        ("fp8_e4m3", (8, 0), ()),
        ("fp8_e4m3", (8, 9), ("QMMA",)),
        ("fp8_e5m2", (9, 0), ("QGMMA",)),
        ("fp32", (9, 0), ("FFMA", "FFMA2")),
    ],
)
def test_expected_instructions(precision: str, capability: tuple[int, int], expected: tuple[str, ...]) -> None:
    assert expected_instructions(precision, capability) == expected
    assert (unsupported(compilation(precision, "dot"), capability) is None) == bool(expected)


def arguments() -> Iterator[Any]:
    yield from (0, 1, 2, 15, 16, 17, -16, 4096, 2**31 - 1, 2**31, 2**40)
    yield from (torch.empty(4, dtype=getattr(torch, p.torch_dtype), device="meta") for p in PRECISIONS.values())
    yield from (torch.empty(4, dtype=dtype, device="meta") for dtype in (torch.int8, torch.int16, torch.int32, torch.int64))
    yield from (0.5, 1.0, None)


@pytest.mark.parametrize("argument", list(arguments()), ids=str)
def test_specialisation_is_that_of_tritons_launcher(argument: Any) -> None:
    backend = make_backend(GPUTarget("cuda", 90, 32))
    kind, key = native_specialize_impl(type(backend), argument, False, True, True)
    signature, constexprs, aligned = specialise({"x": argument}, {})
    assert signature["x"] == kind
    if kind == "constexpr":
        assert constexprs == {"x": argument}
    else:
        assert ("x" in aligned) == ("D" in (key or ""))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "--gpu", "h100_smx5"], "did you mean h100_sxm5?"),
        (["inspect", "--gpu", "./h900.yaml"], "--gpu: h900.yaml:1: GPU: file not found"),
        (["inspect", "--gpu", GPU, "--op", "matmull"], "did you mean matmul?"),
        (["inspect", "--gpu"], "--gpu"),
        (["inspekt"], "inspekt"),
        (["inspect", "--gpu", GPU, "--json", "/nowhere/x.json"], "/nowhere/x.json"),
        (["inspect", "--gpu", GPU, "--jobs", "0"], "--jobs"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    done = run("-m", "kernels", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
