"""What the main loop of a compiled kernel asks of an SM, and the least time that follows: against figures worked out by hand, and against
times that were measured on boards."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from benches.devices.tensors import TensorWorkload
from benches.run.journal import read_journal
from benches.timing.physics import bound_s
from kernels import compiled_loops, machine_code_cache
from kernels.ahead_of_time import examine_all
from kernels.compiled_loops import loops_of
from kernels.gpus import load_gpu
from kernels.guard import ROOT
from kernels.kernel_bound import work_of
from kernels.loop_work import LoopWork, flops_a_clock, least_s
from kernels.machine_code import parse_machine_code
from kernels.machine_loop import Loop, main_loop, parse
from kernels.matmul import bulk
from kernels.matmul.choice import busiest_flops, candidates
from kernels.matmul.configs import BULK, FP32, TENSOR_CORE, UNALIGNED, Config, named
from kernels.matmul.spec import OP
from kernels.matmul.triton_impl import describe_point
from kernels.op import Cost, Point
from kernels.registry import OPS, point_of
from tests.kernels.test_machine_loop import listing

H100, A100, B200 = map(load_gpu, ("h100_sxm5", "a100_sxm4_80gb", "b200"))
FFMA = "FFMA R1, R2, R3, R1"
SQUARE = {"m": 4096, "n": 4096, "k": 4096}
# One pass of 128 × 256 × 64 in bf16 by 8 warps: 4 products of 64 × 256 × 16 each, with 100 other instructions.
LARGE = LoopWork(2 * 128 * 256 * 64, 104 * 8, 8 * (64 + 256) * 16 * 2, 0)


def loop_of(*lines: str) -> Loop:
    found = main_loop(parse(listing(*lines, "@P0 BRA 0", "EXIT")))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("lines", "warps", "expected"),
    [
        # 2·64·256·16 FLOPs by 4 warps; A and B of 64 + 256 rows of 16 bf16 elements.
        (("HGMMA.64x256x16.F32.BF16 R24, gdesc[UR12], R24",), 4, LoopWork(524_288, 8, 10_240, 0)),
        # A is in registers: 256 rows.
        (("HGMMA.64x256x16.F32.BF16 R24, R4, gdesc[UR12], R24",), 8, LoopWork(1_048_576, 16, 16_384, 0)),
        (("QGMMA.64x128x32.F32.E4M3.E4M3 R24, gdesc[UR12], R24",), 4, LoopWork(524_288, 8, 6_144, 0)),
        # FFMA: 2 FLOPs a thread. What LDS reads is shared among threads, and does not count.
        ((*[FFMA] * 3, "LDGSTS.E.128 [R9], desc[UR4][R10.64]"), 8, LoopWork(1536, 40, 4096, 4096)),
        ((*[FFMA] * 3, "LDS.128 R8, [R2]"), 1, LoopWork(192, 5, 0, 0)),
        ((FFMA, *["MUFU.EX2 R1, R1"] * 3), 8, None),  # not a product: mostly other instructions
        (("LDG.E.64 R4, [R2]", "STG.E.64 [R2], R4"), 8, None),
        (("UTCHMMA gdesc[UR4]",), 4, None),
    ],
)
def test_one_pass_by_hand(lines: tuple[str, ...], warps: int, expected: LoopWork | None) -> None:
    assert work_of(loop_of(*lines), warps) == expected


@pytest.mark.parametrize(
    ("precision", "gpu", "expected"),
    [("bf16", H100, 4096), ("fp8_e4m3", H100, 8192), ("tf32", H100, 2048), ("fp32", H100, 256), ("fp32", A100, 128), ("bf16", A100, 2048)],
)
def test_flops_of_an_sm_a_clock(precision: str, gpu: Any, expected: float) -> None:
    """CUDA C++ Programming Guide, arithmetic throughput: 128 fp32 multiply-adds of an SM of 9.0, 64 of one of 8.0."""
    assert flops_a_clock(precision, gpu) == pytest.approx(expected, rel=0.005)
    assert flops_a_clock("fp8_e4m3", A100) is None


@pytest.mark.parametrize(
    ("loops", "flops", "precision", "clocks", "limit"),
    [
        ([LARGE], LARGE.flops, "bf16", 1024, "matrix units"),
        ([replace(LARGE, instructions=1000 * 8)], LARGE.flops, "bf16", 2000, "issue slots"),
        ([replace(LARGE, shared_bytes=128 * 1280)], LARGE.flops, "bf16", 1280, "shared memory"),
        ([replace(LARGE, loaded_bytes=1e9)], LARGE.flops, "bf16", 1024, "matrix units"),  # an assumed figure, which does not count
        ([replace(LARGE, instructions=1000 * 8), LARGE], 3 * LARGE.flops, "bf16", 3 * 1024, "matrix units"),  # the fastest for all
        ([LARGE], LARGE.flops, "fp8_e4m3", 640, "shared memory"),
    ],
)
def test_the_least_time_at_the_highest_clock(loops: list[LoopWork], flops: float, precision: str, clocks: float, limit: str) -> None:
    found = least_s(loops, flops, precision, H100)
    assert found == (pytest.approx(clocks / 1.98e9, rel=2e-4), limit)


def test_without_a_loop_or_a_peak_there_is_no_least_time() -> None:
    assert least_s([], 1e9, "bf16", H100) is None
    assert least_s([LARGE], 1e9, "fp8_e4m3", A100) is None


def test_a_configs_name_is_read_as_it_is_written() -> None:
    shipped = [*(c for group in (*TENSOR_CORE.values(), *BULK.values()) for c in group), *UNALIGNED, *FP32]
    for config in (*shipped, *(replace(c, split=4) for c in TENSOR_CORE[2])):
        assert named(str(config)) == replace(config, resident=1)
    for name in ("", "4096 w4", "128x256x64", "1x128x256x64 w8 s4", "ptx 128x256x64 w8 s4", "128x256x64 w8 s4 + 128x256x64 w8 s4"):
        assert named(name) is None


@pytest.mark.parametrize(
    ("dims", "options", "config", "expected"),
    [
        (SQUARE, {}, Config(128, 256, 64, 8, 4), 4 * 64 * 2 * 128 * 256 * 64),  # 512 tiles on 132 SMs, 64 steps
        ({"m": 4097, "n": 4096, "k": 4095}, {}, Config(128, 256, 64, 8, 4), 4 * 64 * 2 * 128 * 256 * 64),  # 33 · 16 = 528 tiles
        ({"m": 1, "n": 1, "k": 1}, {}, Config(64, 32, 128, 4, 4), 2 * 64 * 32 * 128),
        ({"b": 3, **SQUARE}, {}, Config(128, 256, 64, 8, 4), 12 * 64 * 2 * 128 * 256 * 64),  # 1536 tiles
        (
            {"b": 8, "m": 100, "n": 256, "k": 64},
            {"rhs": "shared"},
            Config(128, 256, 64, 8, 4, kernel="tma"),
            2 * 128 * 256 * 64,
        ),  # 800 rows
        ({"m": 16, "n": 1024, "k": 4096}, {}, Config(64, 32, 128, 4, 4, split=4), 8 * 2 * 64 * 32 * 128),  # 32 tiles · 4 parts of 8 steps
        ({"m": 16, "n": 1024, "k": 4097}, {}, Config(64, 32, 128, 4, 4, split=4), 9 * 2 * 64 * 32 * 128),  # 33 steps: 9, 9, 9 and 6
    ],
)
def test_flops_of_the_busiest_sm(dims: dict[str, int], options: dict[str, str], config: Config, expected: float) -> None:
    assert busiest_flops(OP.point("triton", "bf16", dims, options), config, 132) == expected


def cost_of(point: Point) -> Cost:
    return OPS[point.op].cost(point, "cuda")


def test_the_bound_of_a_point() -> None:
    point = OP.point("triton", "bf16", SQUARE)
    found = bound_s(point, cost_of(point), H100, "cold", "tma 128x256x64 w8 s4", [LARGE])
    assert found == (pytest.approx(4 * 64 * 1024 / 1.98e9, rel=2e-4), "matrix units")
    even = bound_s(point, cost_of(point), H100, "cold", None, [LARGE])  # another implementation's tiles are not known
    assert even == (pytest.approx(512 * 64 * 1024 / 132 / 1.98e9, rel=2e-4), "matrix units")
    thin = OP.point("triton", "bf16", {"m": 1, "n": 8192, "k": 8192})
    small = LoopWork(2 * 64 * 32 * 128, 50, 0, 0)
    assert bound_s(thin, cost_of(thin), H100, "cold", "64x32x128 w4 s4", [small]) == (
        pytest.approx((8192 * 8192 + 8192) * 2 / 3.35e12),
        "memory",
    )
    assert bound_s(point, cost_of(point), H100, "cold", "tma 128x256x64 w8 s4", []) is None
    add = OPS["elementwise"].point("triton", "fp32", {"m": 64, "n": 64}, {"function": "add"})
    assert bound_s(add, cost_of(add), H100, "cold", "1024 w4", [LARGE]) is None


def test_loops_of_what_ran(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a warp-specialised kernel one group's 4 warps, of another all; of a kernel without products nothing."""
    product = parse_machine_code(" REG:24 STACK:0\n" + listing("HGMMA.64x256x16.F32.BF16 R24, gdesc[UR12], R24", "@P0 BRA 0", "EXIT"), 1024)
    copy = parse_machine_code(" REG:24 STACK:0\n" + listing("LDG.E.64 R4, [R2]", "EXIT"), 0)
    codes = {b"product": product, b"copy": copy}

    def ran(elf: bytes, warps: int, ttgir: str = "") -> Any:
        metadata = SimpleNamespace(shared=1024, num_warps=warps, target=SimpleNamespace(arch=90))
        return SimpleNamespace(asm={"cubin": elf, "ttgir": ttgir}, metadata=metadata)

    monkeypatch.setattr(machine_code_cache, "read", lambda cubins, capability: [codes[elf] for elf, _ in cubins if capability == (9, 0)])
    asked = 'module attributes {"ttg.num-ctas" = 1 : i32, "ttg.num-warps" = 4 : i32, ttg.target = "cuda:90"}'
    four, eight = LoopWork(524_288, 8, 10_240, 0), LoopWork(1_048_576, 16, 20_480, 0)
    assert loops_of([ran(b"product", 12, asked), ran(b"copy", 4), ran(b"product", 8)]) == [four, eight]
    assert loops_of([]) == loops_of([None]) == []

    def broken(cubins: Any, capability: Any) -> Iterator[Any]:
        raise subprocess.CalledProcessError(1, "nvdisasm")

    monkeypatch.setattr(machine_code_cache, "read", broken)
    assert loops_of([ran(b"product", 8)]) == []
    assert "its machine code cannot be read: Command 'nvdisasm' returned" in capsys.readouterr().err


def test_a_workload_without_a_compiled_kernel_has_no_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_loops, "loops_of", lambda compiled: pytest.fail("nothing was compiled"))
    assert TensorWorkload(*[OPS["elementwise"].point("torch", "fp32", {"m": 3, "n": 5}, {"function": "add"})] * 2, "cpu", 1).loops == []


# Those of docs/validation whose median is least above the bound, of each limit and kernel; all 130 products hold it, from 1.23 times on.
MEASURED = (
    ("matmul-triton-bf16-1x8192x8192", "64x32x128 w4 s4", "memory"),
    ("matmul-triton-fp32-1024x1536x1024", "64x128x16 w8 s3", "issue slots"),
    ("matmul-triton-bf16-2048x2048x2048", "128x128x64 w4 s3", "shared memory"),
    ("matmul-triton-tf32-4096x4096x4096-nt", "128x256x32 w8 s4", "matrix units"),
    ("matmul-triton-bf16-8192x8192x8192-nt-tma_kernel", "tma 128x256x64 w8 s4", "matrix units"),
    ("matmul-triton-bf16-4096x4096x4096-tt-warp_specialized_kernel", "warp_specialized 128x256x64 w4 s3", "matrix units"),
)


@pytest.mark.slow
def test_no_measured_time_is_below_the_bound_of_its_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "INTERPRETED", False)  # what is compiled is what a GPU runs
    monkeypatch.setattr("kernels.matmul.triton_impl.INTERPRETED", False)
    folders = sorted(path.parent for path in (ROOT / "docs" / "validation").glob("*/rows.jsonl"))
    rows = [row for folder in folders for row in read_journal(folder).rows if row.median_s]
    timed = {wanted: [row for row in rows if (row.point, row.config) == wanted[:2]] for wanted in MEASURED}
    points = {wanted: point_of(found[0]) for wanted, found in timed.items()}
    described = []
    for (_, config, _), point in points.items():
        assert point is not None
        chosen = next((one for one in candidates(point, 132) if str(one) == config), None)
        assert chosen is not None
        described.append(describe_point(point, chosen, "measured"))
    for (wanted, point), finding in zip(points.items(), examine_all(described, H100, 1), strict=True):
        assert point is not None
        assert finding.code is not None
        assert finding.code.loop is not None
        work = work_of(finding.code.loop, finding.compilation.num_warps)
        found = bound_s(point, cost_of(point), H100, "cold", wanted[1], [work] if work else [])
        assert found is not None
        assert found[1] == wanted[2], wanted
        fastest = min(row.median_s for row in timed[wanted] if row.median_s)
        assert found[0] < fastest < 1.6 * found[0], wanted
        if finding.compilation.config.startswith("warp_specialized"):
            assert finding.occupancy is not None
            assert finding.occupancy.warps == 12, "4 that load and two groups of 4 that multiply"
