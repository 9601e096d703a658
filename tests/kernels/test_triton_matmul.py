"""The Triton matmul: right in every precision, layout and shipped config, and its config a pure function of the point."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import torch

from benches.correctness import check
from kernels.matmul import triton_impl
from kernels.matmul.configs import Config, choose, configs
from kernels.matmul.spec import OP
from kernels.op import Dims, Inputs, Kernel, Options, Point
from kernels.precisions import PRECISIONS

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # without a GPU, in Triton's interpreter
LAYOUTS = OP.options["layout"].choices
SHAPES: tuple[tuple[Dims, Options], ...] = (
    ({"m": 129, "n": 131, "k": 137}, {}),
    ({"m": 127, "n": 1, "k": 31}, {"operands": "sliced"}),
    ({"m": 1, "n": 67, "k": 1}, {}),
    ({"b": 3, "m": 67, "n": 33, "k": 29}, {"operands": "sliced"}),
    ({"b1": 2, "b2": 3, "m": 5, "n": 33, "k": 17}, {}),
    ({"b1": 2, "b2": 3, "m": 5, "n": 33, "k": 17}, {"rhs": "shared"}),
    ({"b": 3, "m": 1, "n": 19, "k": 23}, {"rhs": "shared", "operands": "sliced"}),
)


H100_SMS = 132


def point(precision: str, dims: Dims, **options: str) -> Point:
    return OP.point("triton", precision, dims, options)


def shipped(precision: str) -> list[Config]:
    return [*configs(precision), *(c for c in configs(precision, aligned=False) if c not in configs(precision))]


def build_with(config: Config, p: Point, inputs: Inputs) -> Kernel:
    return Kernel(triton_impl.bind(*inputs.operands, out=inputs.out, precision=p.precision, config=config, compiled=[]), str(config))


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_config_at_ragged_shapes(precision: str, layout: str) -> None:
    """Each config at two of its own tiles each way and two steps of k, all ragged, and SHAPES with one each in turn: the interpreter is
    slow."""
    ships = shipped(precision)
    ragged = [({"m": c.block_m + 1, "n": c.block_n + 3, "k": c.block_k + 9}, {}, c) for c in ships]
    for dims, options, config in (*ragged, *((*shape, ships[i % len(ships)]) for i, shape in enumerate(SHAPES))):
        p = point(precision, dims, layout=layout, **options)
        inputs = triton_impl.make_inputs(p, DEVICE, 7)
        verdict = check(OP, p, build_with(config, p, inputs), inputs)
        assert verdict.ok, f"{p.id} {config}: {verdict.problem}"


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_build_runs_the_real_shapes_config_on_shrunk_inputs(precision: str) -> None:
    """What a machine without a GPU does: the interpreter checks the config that the real shape would use."""
    p = point(precision, {"m": 8192, "n": 8192, "k": 8192}, layout="nt")
    small = OP.shrink(p)
    inputs = triton_impl.make_inputs(small, DEVICE, 3)
    kernel = triton_impl.build(p, inputs)
    assert kernel.config == str(configs(precision)[0])
    verdict = check(OP, small, kernel, inputs)
    assert verdict.ok, verdict.problem


def test_64_bit_offsets_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    real = triton_impl.constants
    monkeypatch.setattr(triton_impl, "constants", lambda *args: real(*args) | {"LONG": True})
    p = point("bf16", {"b": 2, "m": 129, "n": 65, "k": 67}, layout="tn")
    inputs = triton_impl.make_inputs(p, DEVICE, 5)
    verdict = check(OP, p, build_with(configs("bf16")[1], p, inputs), inputs)
    assert verdict.ok, verdict.problem


@pytest.mark.parametrize(("n", "long"), [(2**24 - 16, False), (2**24, True)])
def test_a_tile_that_spans_2_to_the_31_elements_takes_64_bit_offsets(n: int, long: bool) -> None:
    """128 rows of 2²⁴ elements are 2³¹."""
    a, b, out = (torch.empty(shape, device="meta") for shape in ((128, 64), (64, n), (128, n)))
    arguments = triton_impl.arguments(a, b, out)
    assert triton_impl.constants(arguments, "fp32", Config(128, 64, 16, 8, 3))["LONG"] is long


def arguments_of(p: Point) -> dict[str, int]:
    inputs = triton_impl.make_inputs(p, "meta", None)
    return triton_impl.arguments(*inputs.operands[:2], inputs.out)


def test_a_shared_right_hand_side_folds_the_batch_into_m() -> None:
    """x (b, m, k) @ w (k, n) is one (b·m, k) @ (k, n): b times fewer, larger products."""
    folded = arguments_of(point("bf16", {"b": 4, "m": 8, "n": 16, "k": 32}, rhs="shared"))
    assert (folded["m"], folded["inner"]) == (32, 1)
    batched = arguments_of(point("bf16", {"b": 4, "m": 8, "n": 16, "k": 32}))
    assert (batched["m"], batched["inner"], batched["stride_ah"], batched["stride_bh"], batched["stride_ch"]) == (8, 4, 256, 512, 128)


def test_leading_dims_merge_where_strides_allow() -> None:
    merged = arguments_of(point("bf16", {"b1": 4, "b2": 5, "b3": 6, "m": 8, "n": 16, "k": 32}, operands="sliced"))
    assert (merged["inner"], merged["stride_ag"]) == (120, 0)


def test_three_strided_leading_dims_are_refused() -> None:
    a = torch.empty((2, 3, 4, 8, 16), device="meta").permute(2, 1, 0, 3, 4)
    b, out = torch.empty((4, 3, 2, 16, 8), device="meta"), torch.empty((4, 3, 2, 8, 8), device="meta")
    with pytest.raises(ValueError, match="3 leading dims"):
        triton_impl.arguments(a, b, out)


@pytest.mark.parametrize(
    ("precision", "m", "n", "batch", "contiguous", "expected"),
    [
        ("bf16", 4096, 4096, 1, (4096, 4096), "128x256x64 w8 s4"),
        ("fp8_e4m3", 8192, 8192, 1, (8192, 8192), "128x256x128 w8 s4"),
        ("tf32", 4096, 4096, 1, (4096, 4096), "128x256x32 w8 s4"),
        ("fp32", 4096, 4096, 1, (4096, 4096), "128x128x16 w8 s3"),
        ("bf16", 2048, 2048, 1, (2048, 2048), "128x128x64 w8 s4"),  # 256 tiles; 128 of 128 × 256 would leave SMs idle
        ("bf16", 1, 4096, 1, (4096, 4096), "64x32x128 w4 s4"),  # decode
        ("bf16", 1024, 64, 64, (1024, 64), "64x64x64 w4 s4"),  # attention heads
        ("bf16", 4097, 4097, 1, (4097, 4097), "128x128x32 w8 s4"),  # no vector loads
        ("fp32", 4097, 4097, 1, (4097, 4097), "64x128x16 w8 s3"),
    ],
)
def test_choice(precision: str, m: int, n: int, batch: int, contiguous: tuple[int, int], expected: str) -> None:
    assert str(choose(precision, m, n, batch, contiguous, H100_SMS)) == expected


def points() -> Iterator[Point]:
    draw = random.Random(0)
    sizes = [*(2**i for i in range(15)), 127, 129, 4097, 28672, 128256]
    for _ in range(2000):
        dims = dict(zip("mnk", draw.choices(sizes, k=3), strict=True))
        lead = {"b": draw.choice(sizes)} if draw.random() < 0.5 else {}
        options = {"layout": draw.choice(LAYOUTS), "operands": draw.choice(("contiguous", "sliced"))}
        if lead:
            options["rhs"] = draw.choice(("batched", "shared"))
        yield point(draw.choice(list(PRECISIONS)), {**lead, **dims}, **options)


def test_choice_is_deterministic_and_shipped() -> None:
    for p in points():
        config = triton_impl.choose_for(p, H100_SMS)
        assert config in shipped(p.precision), p.id
        assert config == triton_impl.choose_for(point(p.precision, p.dims, **p.options), H100_SMS), p.id


def test_rows_of_a_tile_are_enough_for_wgmma() -> None:
    for precision in PRECISIONS:
        for config in shipped(precision):
            assert config.block_m >= 64, config
