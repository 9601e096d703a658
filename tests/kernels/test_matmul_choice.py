"""Which configs could run a point of Triton's matmul, and that a tuned one is taken where it was tuned for the same case."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kernels.gpus import load_gpu
from kernels.matmul import choice
from kernels.matmul.configs import bulk_configs, configs
from kernels.matmul.spec import OP
from kernels.op import Dims, Point
from kernels.support import Chip

H100 = load_gpu("h100_sxm5").chip
SQUARE = {"m": 4096, "n": 4096, "k": 4096}


def point(precision: str, dims: Dims, **options: str) -> Point:
    return OP.point("triton", precision, dims, options)


@pytest.fixture(autouse=True)
def by_the_rule() -> Iterator[None]:
    yield
    choice.use({})


@pytest.mark.parametrize(
    ("p", "kernels"),
    [
        (point("bf16", SQUARE, layout="nt"), {"pointer", "tma", "warp_specialized"}),
        (point("bf16", SQUARE, layout="nt", kernel="pointer"), {"pointer"}),
        (point("bf16", SQUARE, layout="nt", kernel="tma"), {"tma"}),
        (point("bf16", {"m": 127, "n": 129, "k": 131}), {"pointer"}),  # rows that are no multiples of 16 bytes
        (point("bf16", {"b": 3, "m": 136, "n": 136, "k": 64}), {"pointer", "tma"}),  # a batch that is not cut into whole tiles
        (point("fp32", SQUARE), {"pointer"}),
        (point("tf32", SQUARE, layout="tn"), {"pointer"}),
        (point("fp8_e4m3", SQUARE, layout="nt", scaling="block"), {"pointer"}),
        (point("fp8_e4m3", {"m": 1, "n": 1024, "k": 4096}, layout="nt", accumulation="slow"), {"pointer", "tma", "warp_specialized"}),
    ],
    ids=lambda value: getattr(value, "id", None),
)
def test_candidates_are_of_kernels_that_take_the_point(p: Point, kernels: set[str]) -> None:
    found = choice.candidates(p, H100)
    assert {config.kernel for config in found} == kernels
    assert choice.rule(p, H100) in found
    assert len({str(config) for config in found}) == len(found)


def test_before_hopper_nothing_is_copied_in_bulk() -> None:
    found = choice.candidates(point("bf16", SQUARE, layout="nt"), load_gpu("a100_sxm4_80gb").chip)
    assert {config.kernel for config in found} == {"pointer"}


def test_a_batch_is_cut_into_whole_tiles_by_warps_of_their_own() -> None:
    found = choice.candidates(point("bf16", {"b": 3, "m": 128, "n": 384, "k": 64}, kernel="warp_specialized"), H100)
    assert [(config.block_m, config.block_n) for config in found] == [(128, 128)]  # 256 does not divide 384, nor 128


def test_a_tuned_config_is_taken_for_its_case_only() -> None:
    p = point("bf16", SQUARE, layout="nt")
    choice.use({choice.case_of(p): "tma 128x128x64 w8 s4"})
    config, origin = choice.choice_of(p, H100)
    assert (str(config), origin) == ("tma 128x128x64 w8 s4", "tuned")
    assert choice.choice_of(point("bf16", SQUARE, layout="nt", data="zeros"), H100) == (config, "tuned")
    others = (point("fp16", SQUARE, layout="nt"), point("bf16", SQUARE), point("bf16", SQUARE | {"m": 4097}, layout="nt"))
    for other in (*others, point("bf16", SQUARE, layout="nt", kernel="pointer")):
        assert choice.choice_of(other, H100) == (choice.rule(other, H100), "rule")


def test_a_name_that_is_not_a_candidates_is_not_used() -> None:
    p = point("fp32", SQUARE)
    choice.use({choice.case_of(p): "512x512x512 w8 s9"})
    assert choice.choice_of(p, H100) == (choice.rule(p, H100), "rule")


@pytest.mark.parametrize(
    ("precision", "dims", "options", "gpu", "expected"),
    [
        ("fp8_e4m3", SQUARE, {"layout": "nt"}, "h100_sxm5", ""),
        ("fp8_e4m3", SQUARE, {"layout": "nn"}, "h100_sxm5", "b"),
        ("fp8_e5m2", SQUARE, {"layout": "tn"}, "h100_sxm5", "ab"),
        ("tf32", SQUARE, {"layout": "tt"}, "h200_sxm", "a"),
        ("bf16", SQUARE, {"layout": "tn"}, "h100_sxm5", ""),  # 16-bit units read either way
        ("fp8_e4m3", SQUARE, {"layout": "tn"}, "b200", ""),  # so do Blackwell's in fp8
        ("tf32", SQUARE, {"layout": "tn"}, "b200", "ab"),
        ("tf32", SQUARE, {"layout": "tn"}, "a100_sxm4_80gb", ""),
        ("fp8_e4m3", SQUARE | {"m": 64}, {"layout": "nn"}, "h100_sxm5", ""),  # one row of tiles reads B
        ("fp8_e4m3", SQUARE | {"m": 128}, {"layout": "nn"}, "h100_sxm5", "b"),  # two rows of tiles of 64
        ("fp8_e4m3", SQUARE | {"m": 1}, {"layout": "tn"}, "h100_sxm5", ""),
        ("fp8_e4m3", SQUARE | {"m": 131}, {"layout": "tn"}, "h100_sxm5", "ab"),  # whose rows as stored are not aligned
        ("fp8_e4m3", SQUARE | {"k": 4097}, {"layout": "nn"}, "h100_sxm5", ""),  # loads along k would not be wide
        ("fp8_e4m3", {"b": 8, **SQUARE, "m": 64}, {"layout": "nn", "rhs": "shared"}, "h100_sxm5", "b"),  # 512 rows
        ("fp8_e4m3", {"b": 8, **SQUARE, "m": 64}, {"layout": "nn"}, "h100_sxm5", ""),
        ("fp8_e4m3", SQUARE, {"layout": "nn", "scaling": "block"}, "h100_sxm5", "b"),
    ],
)
def test_operands_are_copied_along_k_where_each_tile_would_turn_them(
    precision: str, dims: Dims, options: dict[str, str], gpu: str, expected: str
) -> None:
    chip, p = load_gpu(gpu).chip, point(precision, dims, **options)
    chosen = choice.rule(p, chip)
    assert chosen.copied == expected
    assert str(chosen).partition(" copy_")[2] == expected
    found = choice.candidates(p, chip)
    assert chosen in found
    assert {config.copied for config in found} == {"", expected}


SMALL = Chip(58, (8, 9), 101_376)  # an L4: 99 KiB a block


@pytest.mark.parametrize(
    ("chip", "precision", "expected"),
    [
        (
            load_gpu("h100_sxm5").chip,
            "bf16",
            ["128x256x64 w8 s4", "128x128x64 w4 s3", "128x128x64 w8 s4", "64x64x64 w4 s4", "64x32x128 w4 s4"],
        ),
        (
            load_gpu("a100_sxm4_80gb").chip,
            "bf16",
            ["128x256x64 w8 s4", "128x128x64 w4 s3", "128x128x64 w8 s4 r255", "64x64x64 w4 s4", "64x32x128 w4 s4 r255"],
        ),
        (SMALL, "bf16", ["128x128x64 w4 s3", "128x128x64 w8 s4 r255", "64x64x64 w4 s4", "64x32x128 w4 s4 r255"]),
        (Chip(1, (7, 5), 48 * 1024), "fp32", ["128x128x16 w8 s3", "64x128x16 w8 s3", "64x64x16 w4 s3", "64x32x16 w4 s4"]),
        (Chip(1, (7, 5), 1), "fp16", ["64x32x128 w4 s4"]),  # none fits: the smallest, which fails where it is launched
    ],
)
def test_configs_fit_the_gpu(chip: Chip, precision: str, expected: list[str]) -> None:
    assert list(map(str, configs(precision, chip))) == expected


@pytest.mark.parametrize(
    ("kernel", "precision", "case", "hopper", "blackwell"),
    [
        ("tma", "bf16", {}, "tma 128x256x64 w8 s4", "tma 128x256x64 w8 s4"),
        ("tma", "tf32", {}, "tma 128x256x32 w8 s3", "tma 128x256x32 w8 s2"),
        ("tma", "fp8_e4m3", {"rows": True}, "tma 128x256x128 w8 s4", "tma 128x256x128 w8 s3"),
        ("tma", "tf32", {"pointers": True}, "tma 128x128x32 w8 s4", "tma 128x128x32 w8 s4 r255"),
        ("warp_specialized", "fp8_e4m3", {}, "warp_specialized 128x256x128 w4 s3", "warp_specialized 128x256x128 w4 s3"),
        ("warp_specialized", "fp8_e4m3", {"rows": True}, "warp_specialized 128x256x128 w4 s3", "warp_specialized 128x128x128 w4 s4"),
        ("warp_specialized", "bf16", {"pointers": True}, "warp_specialized 128x128x64 w4 s4", "warp_specialized 128x64x64 w4 s4"),
    ],
)
def test_the_largest_tile_of_bulk_copies_by_gpu(kernel: str, precision: str, case: dict[str, bool], hopper: str, blackwell: str) -> None:
    found = [str(bulk_configs(kernel, precision, load_gpu(gpu).chip, **case)[0]) for gpu in ("h100_sxm5", "b200")]
    assert found == [hopper, blackwell]


def test_tf32_summed_over_three_dims_takes_tiles_that_ptxas_does_not_serialise() -> None:
    assert [str(configs("tf32", H100, summed_dims=dims)[0]) for dims in (1, 2, 3)] == ["128x256x32 w8 s4"] * 2 + ["128x128x32 w4 s3"]
