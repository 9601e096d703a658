"""Which configs could run a point of Triton's matmul, and that a tuned one is taken where it was tuned for the same case."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kernels.matmul import choice
from kernels.matmul.spec import OP
from kernels.op import Dims, Point
from kernels.support import Platform

H100_SMS = 132
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
    found = choice.candidates(p, H100_SMS)
    assert {config.kernel for config in found} == kernels
    assert choice.rule(p, H100_SMS) in found
    assert len({str(config) for config in found}) == len(found)


def test_before_hopper_nothing_is_copied_in_bulk() -> None:
    found = choice.candidates(point("bf16", SQUARE, layout="nt"), 108, Platform("cuda", (8, 0)))
    assert {config.kernel for config in found} == {"pointer"}


def test_a_batch_is_cut_into_whole_tiles_by_warps_of_their_own() -> None:
    found = choice.candidates(point("bf16", {"b": 3, "m": 128, "n": 384, "k": 64}, kernel="warp_specialized"), H100_SMS)
    assert [(config.block_m, config.block_n) for config in found] == [(128, 128)]  # 256 does not divide 384, nor 128


def test_a_tuned_config_is_taken_for_its_case_only() -> None:
    p = point("bf16", SQUARE, layout="nt")
    choice.use({choice.case_of(p): "tma 128x128x64 w8 s4"})
    config, origin = choice.choice_of(p, H100_SMS)
    assert (str(config), origin) == ("tma 128x128x64 w8 s4", "tuned")
    assert choice.choice_of(point("bf16", SQUARE, layout="nt", data="zeros"), H100_SMS) == (config, "tuned")
    others = (point("fp16", SQUARE, layout="nt"), point("bf16", SQUARE), point("bf16", SQUARE | {"m": 4097}, layout="nt"))
    for other in (*others, point("bf16", SQUARE, layout="nt", kernel="pointer")):
        assert choice.choice_of(other, H100_SMS) == (choice.rule(other, H100_SMS), "rule")


def test_a_name_that_is_not_a_candidates_is_not_used() -> None:
    p = point("fp32", SQUARE)
    choice.use({choice.case_of(p): "512x512x512 w8 s9"})
    assert choice.choice_of(p, H100_SMS) == (choice.rule(p, H100_SMS), "rule")
