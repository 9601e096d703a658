"""Which configs could run a point of Triton's matmul, and that a tuned one is taken where it was tuned for the same case."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import pytest

from benches.run.journal import read_journal
from kernels.gpus import load_gpu
from kernels.guard import ROOT
from kernels.matmul import choice
from kernels.matmul.configs import MOST_SHARED_BYTES, SHARED_BYTES, bulk_configs, configs, named
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
    found_on, p = load_gpu(gpu), point(precision, dims, kernel="pointer", **options)
    on = found_on.sm_count, Platform("cuda", found_on.compute_capability)
    chosen = choice.rule(p, *on)
    assert chosen.copied == expected
    assert str(chosen).partition(" copy_")[2] == expected
    found = choice.candidates(p, *on)
    assert chosen in found
    assert {config.copied for config in found} == {"", expected}


@pytest.mark.parametrize(
    ("capability", "precision", "expected"),
    [
        ((9, 0), "bf16", ["128x256x64 w8 s4", "128x128x64 w4 s3", "128x128x64 w8 s4", "64x64x64 w4 s4", "64x32x128 w4 s4"]),
        ((8, 0), "bf16", ["128x256x64 w8 s4", "128x128x64 w4 s3", "128x128x64 w8 s4 r255", "64x64x64 w4 s4", "64x32x128 w4 s4 r255"]),
        ((8, 0), "tf32", ["128x128x32 w8 s4", "64x64x32 w4 s4", "64x32x64 w4 s4 r255"]),
        ((8, 9), "bf16", ["128x128x64 w4 s3", "128x128x64 w8 s4 r255", "64x64x64 w4 s4", "64x32x128 w4 s4 r255"]),  # 99 KiB a block
        ((7, 5), "fp32", ["128x128x16 w8 s3", "64x128x16 w8 s3", "64x64x16 w4 s3", "64x32x16 w4 s4"]),
        ((10, 0), "fp32", ["128x128x16 w8 s3", "64x128x16 w8 s3 r255", "64x64x16 w4 s3 r255", "64x32x16 w4 s4 r255"]),
    ],
)
def test_configs_fit_the_gpu(capability: tuple[int, int], precision: str, expected: list[str]) -> None:
    found = configs(precision, capability=capability)
    assert list(map(str, found)) == expected
    assert [named(str(config)) for config in found] == [replace(config, resident=1) for config in found]


@pytest.mark.parametrize("gpu", ["a100_sxm4_80gb", "a100_pcie", "h100_sxm5", "h200_sxm", "b200"])
def test_shared_memory_is_that_of_the_described_gpus(gpu: str) -> None:
    found = load_gpu(gpu)
    assert SHARED_BYTES.get(found.compute_capability, MOST_SHARED_BYTES) == found.shared_memory_per_block_bytes


ADDRESSES = {"small": True, "addresses": True}


@pytest.mark.parametrize(
    ("kernel", "precision", "case", "hopper", "blackwell"),
    [
        ("tma", "bf16", {}, "tma 128x256x64 w8 s4", "tma 128x256x64 w8 s4"),
        ("tma", "tf32", {}, "tma 128x256x32 w8 s3", "tma 128x256x32 w8 s2"),
        ("tma", "fp8_e4m3", {"rows": True}, "tma 128x256x128 w8 s4", "tma 128x256x128 w8 s3"),
        ("tma", "tf32", ADDRESSES, "tma 128x128x32 w8 s4", "tma 128x128x32 w8 s4 r255"),
        ("warp_specialized", "fp8_e4m3", {}, "warp_specialized 128x256x128 w4 s3", "warp_specialized 128x256x128 w4 s3"),
        ("warp_specialized", "fp8_e4m3", {"rows": True}, "warp_specialized 128x256x128 w4 s3", "warp_specialized 128x128x128 w4 s4"),
        ("warp_specialized", "bf16", ADDRESSES, "warp_specialized 128x128x64 w4 s4", "warp_specialized 128x64x64 w4 s4"),
    ],
)
def test_the_largest_tile_of_bulk_copies_by_gpu(kernel: str, precision: str, case: dict[str, bool], hopper: str, blackwell: str) -> None:
    found = [str(bulk_configs(kernel, precision, capability=capability, **case)[0]) for capability in ((9, 0), (10, 0))]
    assert found == [hopper, blackwell]


def test_tf32_summed_over_three_dims_takes_tiles_that_ptxas_does_not_serialise() -> None:
    assert [str(configs("tf32", summed_dims=dims)[0]) for dims in (1, 2, 3)] == ["128x256x32 w8 s4"] * 2 + ["128x128x32 w4 s3"]
