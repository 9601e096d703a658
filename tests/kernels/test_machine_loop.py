"""The main loop of machine code, on listings written by hand as nvdisasm prints them, and what an SM's clocks allow it."""

from __future__ import annotations

import pytest

from kernels.gpus import load_gpu
from kernels.kernel_bound import bound, occupancy
from kernels.machine_code import parse_machine_code
from kernels.machine_loop import Loop, main_loop, parse

H100, A100 = load_gpu("h100_sxm5"), load_gpu("a100_sxm4_80gb")


def listing(*lines: str) -> str:
    """Instructions at 0x0, 0x10, …; "BRA 5" jumps to the sixth line."""
    text = []
    for i, line in enumerate(lines):
        words = line.split()
        if "BRA" in words[-2:-1]:
            words[-1] = f"{int(words[-1]) * 16:#x}"
        text.append(f"        /*{i * 16:04x}*/    {' '.join(words)} ;")
    return "\n".join(text)


PRODUCT = "HGMMA.64x256x16.F32.BF16 R24, gdesc[UR12], R24, gsb0"
COPY = "LDGSTS.E.BYPASS.LTC128B.128 [R9], desc[UR4][R10.64]"


def loop_of(*lines: str) -> Loop:
    found = main_loop(parse(listing(*lines)))
    assert found is not None
    return found


def test_a_loop_is_counted_without_what_surrounds_it() -> None:
    loop = loop_of(
        "MOV R1, R2", PRODUCT, "IADD3 R1, R1, R2, RZ", COPY, PRODUCT, "WARPGROUP.DEPBAR.LE gsb0, 0x1", "@!P5 BRA 2", PRODUCT, "EXIT"
    )
    assert (len(loop.path), len(loop.matrix), loop.others) == (5, 1, 4.0)
    assert loop.shapes == ("HGMMA.64x256x16.F32.BF16",)
    assert dict(loop.loads) == {"LDGSTS.128": 1}
    assert loop.wait_depth == 1


def test_a_branch_that_is_rarely_taken_is_left_out() -> None:
    """As the epilogue inside a persistent kernel's flattened loop."""
    loop = loop_of(
        "MOV R1, R2",
        PRODUCT,
        "@P0 BRA 6",
        "STG.E.128 [R2], R4",
        "STG.E.128 [R2], R4",
        "FADD R1, R1, R2",
        "IADD3 R3, R3, 0x1, RZ",
        "@P1 BRA 1",
        "EXIT",
    )
    assert [one.name for one in loop.path] == ["HGMMA", "BRA", "IADD3", "BRA"]
    assert dict(loop.stores) == {}


def test_a_loop_that_waits_for_a_barrier_is_passed_once() -> None:
    spin = ("SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR4], R4", "@!P0 BRA 1")
    loop = loop_of("MOV R1, R2", *spin, PRODUCT, PRODUCT, "@P1 BRA 1", "EXIT")
    assert (len(loop.path), len(loop.matrix), loop.barriers) == (5, 2, 1)


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (("MOV R1, R2", "LDG.E.128 R4, [R2]", "@P0 BRA 1", "FFMA R1, R2, R3, R1", "@P1 BRA 3", "EXIT"), ["FFMA", "BRA"]),
        (("FFMA R1, R2, R3, R1", "@P0 BRA 0", PRODUCT, "@P1 BRA 2", "EXIT"), ["HGMMA", "BRA"]),
        (("LDG.E.64 R4, [R2]", "STG.E.64 [R2], R4", "@P0 BRA 0", "EXIT"), ["LDG", "STG", "BRA"]),
        ((PRODUCT, "BRA.U !UP0, 0x0", "EXIT"), ["HGMMA", "BRA"]),
    ],
    ids=["multiply-adds before loads", "products before multiply-adds", "a copy", "a uniform branch"],
)
def test_the_loop_that_computes_is_chosen(lines: tuple[str, ...], names: list[str]) -> None:
    assert [one.name for one in loop_of(*lines).path] == names


@pytest.mark.parametrize("lines", [(), ("MOV R1, R2", "EXIT"), ("IADD3 R1, R1, R2, RZ", "@P0 BRA 0", "EXIT"), (PRODUCT, "EXIT", "BRA 2")])
def test_where_no_loop_computes_there_is_none(lines: tuple[str, ...]) -> None:
    assert main_loop(parse(listing(*lines))) is None


def test_a_kernel_s_hash_is_the_same_wherever_it_lies() -> None:
    """The code of many kernels is disassembled in one row, with addresses and targets that count from its start."""
    body = (COPY, PRODUCT, "@P0 BRA 0", "EXIT")
    shifted = listing(*["NOP"] * 8, COPY, PRODUCT, "@P0 BRA 8", "EXIT").splitlines()[8:]
    texts = [f" Function f: REG:24 STACK:0 {lines}" for lines in ("\n" + listing(*body), "\n" + "\n".join(shifted))]
    here, there = (parse_machine_code(text, 0) for text in texts)
    assert here.hash == there.hash
    assert (here.registers, here.instructions["HGMMA"], here.wide_loads) == (24, 1, 1)
    other = parse_machine_code(texts[0].replace("R24, gsb0", "R25, gsb0"), 0)
    assert other.hash != here.hash


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("LDGSTS.E [R9], desc[UR4][R10.64]", "LDGSTS.32"),
        ("LDG.E.U16 R1, [R2]", "LDG.16"),
        ("LDS.128 R4, [R2]", "LDS.128"),
        ("LDSM.16.M88.4 R4, [R2]", "LDSM"),
        ("UTMALDG.2D [UR8], [UR4]", "UTMALDG.2D"),
        ("@!PT LDS RZ, [RZ]", ""),
    ],
)
def test_loads_by_kind_and_width(line: str, kind: str) -> None:
    loop = loop_of(line, PRODUCT, "@P0 BRA 0", "EXIT")
    assert dict(loop.loads) == ({kind: 1} if kind else {})


@pytest.mark.parametrize(
    ("registers", "shared", "warps", "blocks", "limit"),
    [
        (185, 196_608, 8, 1, "shared memory"),  # 192 KiB and 1 KiB of 228
        (168, 98_304, 8, 1, "registers"),  # 168 · 256 = 43,008 of 65,536
        (128, 98_304, 8, 2, "shared memory"),
        (255, 0, 8, 1, "registers"),
        (32, 0, 8, 8, "shared memory"),
        (16, 0, 1, 32, "blocks"),
    ],
)
def test_occupancy(registers: int, shared: int, warps: int, blocks: int, limit: str) -> None:
    """By hand from the tables of the CUDA C++ Programming Guide; ties go to the first of shared memory, registers, warps, blocks."""
    found = occupancy(registers, shared, warps, H100)
    assert found is not None
    assert (found.blocks, found.warps) == (blocks, blocks * warps)
    assert found.limited_by == limit or found.blocks == blocks


def test_the_bound_by_hand() -> None:
    """4 HGMMA of 64×256×16 a warp, 142 instructions, 12 copies of 16 bytes a thread, 8 warps: the loop of a 128×256×64 tile in bf16."""
    filler = ["IADD3 R1, R1, R2, RZ"] * (142 - 4 - 12 - 1)
    loop = loop_of(*filler, *[COPY] * 12, *[PRODUCT] * 4, "@P0 BRA 0", "EXIT")
    found = bound(loop, 8, 1, "bf16", H100)
    assert found is not None
    assert found.matrix == pytest.approx(2 * 128 * 256 * 64 / 4096, rel=1e-3)  # 989.5e12 / (132 · 1.83e9) = 4096 FLOPs a clock
    assert found.issue == 142 * 8 / 4
    copied = (128 + 256) * 64 * 2
    assert found.shared == (2 * 4 * (64 + 256) * 16 * 2 + copied) / 128
    assert found.loads == copied / 64
    assert found.fraction == pytest.approx(1, abs=1e-3)  # matrix units and shared memory take 1024 clocks each


def test_a_loop_with_too_many_other_instructions_is_bound_by_issue_slots() -> None:
    loop = loop_of(*["PRMT R1, R1, R2, RZ"] * 600, PRODUCT, "@P0 BRA 0", "EXIT")
    found = bound(loop, 4, 1, "bf16", H100)
    assert found is not None
    assert found.limited_by == "issue slots"
    assert found.fraction == pytest.approx(2 * 64 * 256 * 16 / 4096 / 602, rel=1e-3)


def test_products_of_one_warp_are_bounded_and_unknown_ones_are_not() -> None:
    ampere = loop_of("HMMA.16816.F32.BF16 R4, R8, R12, R4", "@P0 BRA 0", "EXIT")
    found = bound(ampere, 4, 2, "bf16", A100)
    assert found is not None
    assert found.matrix == pytest.approx(2 * 4 * 2 * 16 * 8 * 16 / (312e12 / (108 * 1.41e9)), rel=1e-2)
    assert bound(loop_of("UTCHMMA gdesc[UR4]", "@P0 BRA 0", "EXIT"), 4, 1, "bf16", load_gpu("b200")) is None
