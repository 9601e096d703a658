"""Which configs could run a point of Triton's matmul, and that a tuned one is taken where it was tuned for the same case."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import pytest

from benches.run.journal import read_journal
from kernels.guard import ROOT
from kernels.matmul import choice
from kernels.matmul.spec import OP, tma_is_faster
from kernels.op import Dims, Point
from kernels.registry import point_of
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
        (point("fp8_e4m3", SQUARE, layout="nt", scaling="block"), {"pointer", "tma", "warp_specialized"}),
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


def timed_kernels() -> dict[str, tuple[Point, dict[str, float]]]:
    """Seconds of each kernel by the id of its product with `auto`, of the board on which products were timed with all of them."""
    found: dict[str, tuple[Point, dict[str, float]]] = {}
    times: dict[str, dict[str, float]] = defaultdict(dict)
    for row in read_journal(ROOT / "docs" / "validation" / "2026-11-27-h100_sxm5-triton-beside-torch").rows:
        p = point_of(row)
        if p is not None and p.op == "matmul" and p.impl == "triton" and p.options["kernel"] != "auto" and row.median_s:
            product = point(p.precision, p.dims, **p.options | {"kernel": "auto"})
            times[product.id][p.options["kernel"]] = row.median_s
            found[product.id] = product, times[product.id]
    return found


def test_auto_is_the_faster_of_the_kernels_wherever_a_board_timed_them() -> None:
    """All 15 products that were timed, those of small results and the one of fp8 that tma does not win among them."""
    timed = timed_kernels()
    assert len(timed) == 15
    chosen = {name: choice.rule(product, H100_SMS).kernel for name, (product, _) in timed.items()}
    assert chosen == {name: min(("pointer", "tma"), key=times.__getitem__) for name, (_, times) in timed.items()}
    assert sum(kernel == "tma" for kernel in chosen.values()) == 12


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (point("bf16", SQUARE), "tma"),
        (point("fp16", SQUARE, layout="tt"), "tma"),
        (point("tf32", SQUARE, layout="nt"), "tma"),
        (point("fp8_e5m2", SQUARE, layout="nt"), "tma"),
        (point("bf16", {"m": 4096, "n": 14336, "k": 4096}), "tma"),
        (point("bf16", SQUARE | {"k": 256}), "tma"),
        (point("bf16", SQUARE | {"k": 128}), "pointer"),  # what follows was not timed
        (point("bf16", SQUARE | {"m": 2048, "n": 28672}), "pointer"),
        (point("bf16", SQUARE | {"m": 4097}), "pointer"),
        (point("bf16", SQUARE | {"n": 4104}), "pointer"),
        (point("bf16", SQUARE | {"n": 4099}), "pointer"),
        (point("bf16", SQUARE | {"k": 4104}), "pointer"),
        (point("bf16", SQUARE, operands="sliced"), "pointer"),
        (point("bf16", {"b": 1, **SQUARE}), "pointer"),
        (point("bf16", {"b": 4, **SQUARE}, rhs="shared"), "pointer"),
        (point("bf16", SQUARE, kernel="pointer"), "pointer"),
        (point("fp32", SQUARE), "pointer"),  # and what tma does not take
        (point("tf32", SQUARE), "pointer"),
        (point("fp8_e4m3", SQUARE, layout="tn"), "pointer"),
        (point("fp8_e4m3", SQUARE, layout="nt", scaling="block"), "pointer"),
        (point("bf16", SQUARE, scaling="row"), "pointer"),
        (point("fp8_e4m3", SQUARE, layout="nt", scaling="row", accumulation="slow"), "pointer"),
        (point("fp8_e4m3", SQUARE | {"n": 16384}, layout="nt"), "pointer"),  # slower at 8192²
    ],
    ids=lambda value: getattr(value, "id", None),
)
def test_auto_is_tma_where_that_was_measured_to_be_faster(p: Point, expected: str) -> None:
    assert choice.rule(p, H100_SMS).kernel == expected
    for capability in ((8, 0), (8, 9), (10, 0)):
        assert choice.rule(p, H100_SMS, Platform("cuda", capability)).kernel == "pointer"
    assert tma_is_faster(p) == tma_is_faster(replace(p, options=p.options | {"data": "zeros"}))


def test_a_tuned_pointer_config_is_used_in_the_place_of_tma() -> None:
    p = point("bf16", SQUARE, layout="nt")
    choice.use({choice.case_of(p): "128x256x64 w8 s4"})
    assert [str(part) for part in choice.choice_of(p, H100_SMS)] == ["128x256x64 w8 s4", "tuned"]
