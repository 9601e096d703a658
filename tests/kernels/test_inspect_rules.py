"""The rules by which `inspect` fails a kernel that compiles, each on a planted kernel: its main loop is written by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kernels.code_rules import judge, judge_wait, judge_warps, requested_wait, specialises_warps, unsupported
from kernels.compilation import Compilation
from kernels.gpus import load_gpu
from kernels.machine_code import MachineCode
from kernels.machine_loop import main_loop, parse
from tests.kernels.test_machine_loop import COPY, PRODUCT, listing

H100 = load_gpu("h100_sxm5")
SIGNATURE = {"a": "*bf16", "b": "*bf16", "k": ("i32", "constexpr"), "BLOCK": "constexpr"}
GOOD = Compilation("matmul", "bf16", "nt", "", "m:f", SIGNATURE, {}, ("a", "b", (2, 0)), 8, 4, "dot")


def code(*lines: str, **changes: Any) -> MachineCode:
    loop = main_loop(parse(listing(*lines, "@P0 BRA 0", "EXIT")))
    assert loop is not None
    found = {"LDGSTS": 1, "HGMMA": 1} if any("LDGSTS" in line for line in lines) else {"HGMMA": 1}
    return replace(MachineCode(100, 1000, found, 1, loop=loop), **changes)


STRIDED = replace(GOOD, signature={**SIGNATURE, "m_a": ("i32",), "k_a": ("i32",)}, aligned=(*GOOD.aligned, (4, 0), (5, 0)))
NARROW = code("LDGSTS.E [R9], desc[UR4][R10.64]", PRODUCT)


@pytest.mark.parametrize(
    ("compilation", "made", "reason"),
    [
        (GOOD, code(COPY, PRODUCT), ""),
        (GOOD, code(COPY, PRODUCT, instructions={"LDGSTS": 1, "HGMMA": 1, "STL": 2, "LDL": 3}), "spills registers: 2 STL, 3 LDL"),
        (GOOD, code(COPY, PRODUCT, shared_bytes=300_000), "wants 300,000 bytes of shared memory"),
        (GOOD, code(COPY, "FFMA R1, R2, R3, R1", instructions={"LDGSTS": 1}), "no HGMMA: bf16 runs on other units"),
        (GOOD, code("LDGSTS.E [R9], desc[UR4][R10.64]", PRODUCT), "1 LDGSTS.32 in the main loop"),
        (GOOD, code(*[COPY] * 8, "LDG.E R1, [R2]", PRODUCT), ""),  # 4 of 132 bytes: a scale
        (GOOD, code("LDG.E R1, [R2]", PRODUCT, instructions={"UTMALDG": 2, "HGMMA": 1}), ""),  # operands come in another loop
        (GOOD, code("LDG.E R1, [R2]", PRODUCT, instructions={"LDGSTS": 2, "HGMMA": 1}), "1 LDG.32 in the main loop"),
        (replace(GOOD, aligned=("a", "b")), code("LDGSTS.E [R9], desc[UR4][R10.64]", PRODUCT), ""),  # k is no multiple of 16
        (STRIDED, NARROW, ""),
        (replace(STRIDED, signature={**STRIDED.signature, "k_a": ("constexpr",)}, aligned=(*GOOD.aligned, (4, 0))), NARROW, "LDGSTS.32"),
        (GOOD, code("LDG.E.128 R4, [R2]", PRODUCT), "4 stages were requested, but the compiler dropped them"),
        (replace(GOOD, num_stages=1), code("LDG.E.128 R4, [R2]", PRODUCT), ""),
        (GOOD, code("LDG.E.128 R4, [R2]", "STS.U8 [R2], R4", PRODUCT), ""),  # through registers, on purpose
    ],
)
def test_each_rule(compilation: Compilation, made: MachineCode, reason: str) -> None:
    found = "; ".join(judge(compilation, made, H100))
    assert reason in found
    assert bool(found) == bool(reason), found


def test_fp8_on_another_format_s_instruction() -> None:
    made = code(COPY, PRODUCT, instructions={"LDGSTS": 1, "HGMMA": 1, "QGMMA": 1})
    (reason,) = judge(replace(GOOD, precision="fp8_e4m3"), made, H100)
    assert reason.startswith("HGMMA in the main loop: fp8_e4m3 is multiplied as another format")


@pytest.mark.parametrize(
    ("ptx", "depth"),
    [
        ("", None),
        ("\twgmma.wait_group.sync.aligned 0;", 0),
        ("\twgmma.wait_group.sync.aligned 1;\n\twgmma.wait_group.sync.aligned 0;", 1),  # in the loop, and after it
        ("\twgmma.wait_group.sync.aligned 0;\n\twgmma.wait_group.sync.aligned \t2;", 2),
    ],
)
def test_the_wait_that_triton_requests(ptx: str, depth: int | None) -> None:
    assert requested_wait(ptx) == depth


WAITS = {depth: code(COPY, PRODUCT, f"WARPGROUP.DEPBAR.LE gsb0, {depth:#x}") for depth in (0, 1)}


@pytest.mark.parametrize(
    ("requested", "made", "constexprs", "serialised"),
    [
        (1, WAITS[1], {}, False),
        (1, WAITS[0], {}, True),
        (2, WAITS[0], {"IMPRECISE": None}, True),
        (1, WAITS[0], {"IMPRECISE": 128}, False),  # sums are read in every step
        (0, WAITS[0], {}, False),  # Triton itself waits for each
        (None, WAITS[0], {}, False),
        (1, code(COPY, PRODUCT), {}, False),  # never waits in the loop
        (1, replace(WAITS[0], loop=None), {}, False),
    ],
)
def test_products_that_ptxas_serialises(requested: int | None, made: MachineCode, constexprs: dict[str, Any], serialised: bool) -> None:
    found = judge_wait(replace(GOOD, constexprs=constexprs), requested, made)
    assert bool(found) == serialised
    assert all("ptxas serialises the products" in reason for reason in found)


LOOP = """
    scf.for %arg8 = %10 to %11 step %c132_i32  : i32 {
      tt.descriptor_store %5[%27, %31], %32 : !tt.tensordesc<tensor<128x128xbf16>>, tensor<128x128xbf16>
    }"""


@pytest.mark.parametrize(
    ("attributes", "asked"),
    [
        (" {tt.warp_specialize}", True),
        (" {tt.flatten, tt.num_stages = 3 : i32, tt.warp_specialize}", True),
        (" {tt.flatten}", False),
        ("", False),
        (' loc("tt.warp_specialize")', False),
    ],
)
@pytest.mark.parametrize("instructions", [{"HGMMA": 1}, {"HGMMA": 1, "USETMAXREG": 2}])
def test_warps_of_their_own_that_the_compiler_dropped(attributes: str, asked: bool, instructions: dict[str, int]) -> None:
    assert specialises_warps(LOOP + attributes + "\n") == asked
    reasons = judge_warps(asked, code(COPY, PRODUCT, instructions=instructions))
    assert bool(reasons) == (asked and "USETMAXREG" not in instructions)
    assert all("there is no USETMAXREG" in reason for reason in reasons)


@pytest.mark.parametrize(("capability", "reason"), [((8, 0), "from compute capability 9.0 on"), ((9, 0), ""), ((10, 0), "")])
def test_a_kernel_that_a_run_does_not_launch_is_not_compiled(capability: tuple[int, int], reason: str) -> None:
    found = unsupported(replace(GOOD, since=(9, 0)), capability)
    assert reason in (found or "")
    assert (found is None) is (reason == "")
