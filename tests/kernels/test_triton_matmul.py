"""The Triton matmul: right in every precision, layout and shipped config, and its config a pure function of the point."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from benches.correctness import check
from kernels.matmul import along_k, triton_impl
from kernels.matmul.configs import Config, bulk_configs, choose, configs
from kernels.matmul.spec import OP, product, tma_is_faster
from kernels.op import Dims, Inputs, Kernel, Options, Point, Unsupported
from kernels.precisions import PRECISIONS
from kernels.support import Platform

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
    a, b, *scales = inputs.operands
    product = triton_impl.product_of(a, b, inputs.out)
    recipe = triton_impl.recipe_of(p)
    run = triton_impl.bind(product, a, b, *scales, out=inputs.out, precision=p.precision, config=config, compiled=[], recipe=recipe)
    return Kernel(run, str(config))


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
    large = str(configs(precision)[0])
    assert kernel.config == (f"tma {large.replace('w8 s4', 'w8 s3') if precision == 'tf32' else large}" if tma_is_faster(p) else large)
    verdict = check(OP, small, kernel, inputs)
    assert verdict.ok, verdict.problem


def test_64_bit_offsets_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    real = triton_impl.constants
    monkeypatch.setattr(triton_impl, "constants", lambda *args: real(*args) | {"LONG": True})
    p = point("bf16", {"b": 2, "m": 129, "n": 65, "k": 67}, layout="tn")
    inputs = triton_impl.make_inputs(p, DEVICE, 5)
    verdict = check(OP, p, build_with(configs("bf16")[1], p, inputs), inputs)
    assert verdict.ok, verdict.problem


@pytest.mark.parametrize(("n", "long"), [(2**24, False), (2**24 + 16, True)])
def test_a_matrix_of_2_to_the_31_elements_takes_64_bit_offsets(n: int, long: bool) -> None:
    """128 rows of 2²⁴ elements are 2³¹, the last of which is still reached."""
    a, b, out = (torch.empty(shape, device="meta") for shape in ((128, 4), (4, n), (128, n)))
    p = triton_impl.product_of(a, b, out)
    assert triton_impl.constants(p, "fp32", Config(128, 64, 16, 8, 3))["LONG"] is long


@pytest.mark.parametrize(
    ("dims", "options", "expected"),
    [
        ({"m": 8, "n": 16, "k": 32}, {}, "m8 n16 k32"),
        ({"b": 4, "m": 8, "n": 16, "k": 32}, {"rhs": "shared"}, "m32 n16 k32"),  # one product with b times the rows
        ({"b": 4, "m": 8, "n": 16, "k": 32}, {"rhs": "shared", "layout": "tn"}, "m4.8 n16 k32"),  # whose rows are two dims
        ({"b": 4, "m": 8, "n": 16, "k": 32}, {}, "b4 m8 n16 k32"),
        ({"b1": 4, "b2": 5, "b3": 6, "m": 8, "n": 16, "k": 32}, {"operands": "sliced"}, "b120 m8 n16 k32"),
        ({"b": 4, "m": 1, "n": 16, "k": 32}, {"rhs": "shared", "operands": "sliced"}, "m4 n16 k32"),
        ({"m": 1, "n": 1, "k": 1}, {}, ""),
    ],
)
def test_dims_of_a_point(dims: Dims, options: Options, expected: str) -> None:
    """Merged as far as the strides allow; the same from the tensors as from the point alone."""
    p = point("bf16", dims, **options)
    inputs = triton_impl.make_inputs(p, "meta", None)
    found = product(p)
    assert found == triton_impl.product_of(*inputs.operands[:2], inputs.out)
    groups = (("b", found.batch), ("m", found.m), ("n", found.n), ("k", found.k))
    assert " ".join(letter + ".".join(str(d.size) for d in group) for letter, group in groups if group) == expected


@pytest.mark.slow
@pytest.mark.parametrize("leading", [(2, 3, 4), (2, 1, 3, 1, 2)])
def test_any_number_of_strided_leading_dims(leading: tuple[int, ...]) -> None:
    """A's leading dims lie in the opposite order, so that none merge with B's."""
    draw = torch.Generator(DEVICE).manual_seed(3)
    a = torch.randn((*reversed(leading), 5, 17), generator=draw, device=DEVICE)
    a = a.permute(*reversed(range(len(leading))), len(leading), len(leading) + 1)
    b = torch.randn((*leading, 17, 7), generator=draw, device=DEVICE)
    out = torch.empty((*leading, 5, 7), device=DEVICE)
    p = triton_impl.product_of(a, b, out)
    triton_impl.bind(p, a, b, out=out, precision="fp32", config=configs("fp32")[-1], compiled=[])()
    torch.testing.assert_close(out.double(), a.double() @ b.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp8_e4m3"])
@pytest.mark.parametrize(("k", "parts"), [(131, 2), (257, 3), (128, 5)])
def test_k_split_among_blocks(precision: str, k: int, parts: int) -> None:
    """More parts than steps too: the last ones have nothing to add."""
    for layout in ("nt", "tn"):
        p = point(precision, {"b": 2, "m": 17, "n": 35, "k": k}, layout=layout)
        inputs = triton_impl.make_inputs(p, DEVICE, 9)
        verdict = check(OP, p, build_with(Config(64, 32, 32, 4, 3, split=parts), p, inputs), inputs)
        assert verdict.ok, f"{p.id}: {verdict.problem}"


COPIED: tuple[tuple[str, Dims, Options], ...] = (
    ("fp8_e4m3", {"m": 67, "n": 31, "k": 137}, {"layout": "nn"}),
    ("fp8_e4m3", {"m": 129, "n": 31, "k": 131}, {"layout": "tn", "scaling": "row"}),
    ("fp8_e5m2", {"b": 3, "m": 127, "n": 1, "k": 31}, {"layout": "tt", "operands": "sliced"}),
    ("fp8_e5m2", {"b": 2, "m": 17, "n": 131, "k": 128}, {"layout": "tn", "rhs": "shared", "scaling": "block"}),
    ("tf32", {"b1": 1, "b2": 2, "m": 65, "n": 7, "k": 17}, {"layout": "tn"}),
    ("tf32", {"b": 3, "m": 5, "n": 33, "k": 67}, {"layout": "nn", "rhs": "shared", "operands": "sliced"}),
)


@pytest.mark.parametrize(
    ("precision", "dims", "options", "expected"),
    [
        ("fp8_e4m3", {"m": 3, "n": 5, "k": 7}, {"layout": "nt"}, 0),
        ("fp8_e4m3", {"m": 3, "n": 5, "k": 7}, {"layout": "nn"}, 5 * 7),
        ("tf32", {"m": 3, "n": 5, "k": 7}, {"layout": "tn"}, 4 * (3 * 7 + 5 * 7)),
        ("tf32", {"b": 2, "m": 3, "n": 5, "k": 7}, {"layout": "tt"}, 4 * 2 * 3 * 7),
        ("fp8_e5m2", {"b": 2, "m": 3, "n": 5, "k": 7}, {"layout": "tn", "rhs": "shared"}, 2 * 3 * 7 + 5 * 7),
        ("fp8_e5m2", {"b": 2, "m": 3, "n": 5, "k": 7}, {"layout": "nn", "rhs": "batched"}, 2 * 5 * 7),
        ("bf16", {"m": 3, "n": 5, "k": 7}, {"layout": "tn"}, 0),
        ("tf32", {"m": 3, "n": 5, "k": 8}, {"layout": "nt", "kernel": "tma"}, 0),
    ],
)
def test_memory_of_copies(precision: str, dims: Dims, options: Options, expected: int) -> None:
    """What is held at most besides operands and result: each copied operand once."""
    assert OP.impls["triton"].left_behind(point(precision, dims, **options)) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "dims", "options"), COPIED)
def test_operands_copied_along_k(precision: str, dims: Dims, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every layout that is turned, leading dims, wider parents, recipes; a launch with other numbers in place copies these."""
    real = along_k.call
    if "b" in dims:
        monkeypatch.setattr(along_k, "call", lambda *tensors: (real(*tensors)[0], real(*tensors)[1] | {"LONG": True}))
    p = point(precision, dims, **options)
    copied = ("a" if p.options["layout"][0] == "t" else "") + ("b" if p.options["layout"][1] == "n" else "")
    config = replace(configs(precision, scaling=p.options["scaling"])[-1], copied=copied)
    inputs = triton_impl.make_inputs(p, DEVICE, 7)
    ran: list[object] = []
    kernel = Kernel(triton_impl.bind_copied(inputs, precision, config, ran, triton_impl.recipe_of(p)), str(config), compiled=ran)
    for _ in range(2):
        verdict = check(OP, p, kernel, inputs)
        assert verdict.ok, f"{p.id} {config}: {verdict.problem}"
        bits = inputs.operands[0].view(along_k.BITS[inputs.operands[0].element_size()])
        bits.copy_(bits.clone().flip(-1))
    assert len(ran) == len(copied) + 1


RECIPES = [("row", "fast"), ("row", "slow"), ("tensor", "slow"), ("block", "fast")]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp8_e4m3", "fp8_e5m2"])
@pytest.mark.parametrize(("scaling", "accumulation"), RECIPES)
def test_fp8_recipes(scaling: str, accumulation: str, precision: str) -> None:
    """Every layout; more than one block of scales along k and n, whole and ragged; leading dims; k split."""
    cases: tuple[tuple[Dims, Options, int], ...] = (
        ({"m": 65, "n": 131, "k": 257}, {"layout": "nt"}, 1),
        ({"m": 16, "n": 160, "k": 1664}, {"layout": "nn"}, 3),
        ({"b": 3, "m": 5, "n": 131, "k": 137}, {"layout": "tt"}, 1),
        ({"b": 3, "m": 32, "n": 33, "k": 128}, {"layout": "tn", "rhs": "shared"}, 1),
    )
    for dims, options, parts in cases:
        p = point(precision, dims, scaling=scaling, accumulation=accumulation, **options)
        inputs = triton_impl.make_inputs(p, DEVICE, 7)
        config = replace(configs(precision, scaling=scaling)[-1], split=parts)
        verdict = check(OP, p, build_with(config, p, inputs), inputs)
        assert verdict.ok, f"{p.id} {config}: {verdict.problem}"


@pytest.mark.parametrize("error", ["no scale of A", "no scale of B", "next scale of A", "next scale of B"])
@pytest.mark.parametrize("scaling", ["row", "block"])
def test_wrong_scales_are_found(scaling: str, error: str) -> None:
    p = point("fp8_e4m3", {"m": 67, "n": 259, "k": 257}, layout="nt", scaling=scaling)
    inputs = triton_impl.make_inputs(p, "cpu", 5)
    operands = list(inputs.operands)
    which = 2 if error.endswith("A") else 3
    scale = operands[which]
    along = -1 if (scaling == "block") == (which == 2) or which == 3 else -2
    operands[which] = torch.full_like(scale, float(scale.mean())) if error.startswith("no") else scale.roll(1, dims=along)
    expected = OP.load("reference")(p, inputs.operands)
    allowed = OP.load("tolerance")(p, inputs.operands, expected)
    spoilt = OP.load("reference")(p, tuple(operands))
    assert bool(((spoilt - expected).abs() > allowed).any())
    assert not bool(((expected.bfloat16().double() - expected).abs() > allowed).any())


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("option", "value"), [("scaling", "row"), ("scaling", "block"), ("accumulation", "slow")])
def test_recipes_are_of_fp8_only(precision: str, option: str, value: str) -> None:
    """A point of another precision is no error: it is unsupported, and the others of its sweep run."""
    p = point(precision, {"m": 16, "n": 16, "k": 16}, layout="nt", **{option: value})
    reason = f"{option} {value} is for fp8 precisions: {precision} operands have no scales"
    e4m3_only = "torch.nn.functional.scaled_mm takes block scales of fp8_e4m3 only"  # as an H100 with CUDA 13.0 said
    for name, impl in OP.impls.items():
        lacks = e4m3_only if (precision, value) == ("fp8_e5m2", "block") and name != "triton" else None
        assert impl.unsupported(p, Platform("cuda", (9, 0))) == (lacks if precision.startswith("fp8") else reason)
    if not precision.startswith("fp8"):  # whatever an implementation of somebody's own refuses
        with pytest.raises(Unsupported, match=reason):
            OP.load("make_inputs")(p, "cpu", 1)


@pytest.mark.parametrize(
    ("scaling", "scales"),
    [("tensor", 2), ("row", 130 + 257), ("block", 130 * 3 + 4 * 3)],  # 3 blocks of 300, padded to 4 for B; 3 blocks of 257
)
def test_bytes_of_scales(scaling: str, scales: int) -> None:
    p = point("fp8_e4m3", {"m": 130, "n": 257, "k": 300}, layout="nt", scaling=scaling)
    inputs = triton_impl.make_inputs(p, "cpu", 3)
    assert sum(scale.numel() for scale in inputs.operands[2:]) == scales
    assert OP.cost(p, "cuda").bytes_read == 130 * 300 + 257 * 300 + 4 * scales


@pytest.mark.parametrize(
    ("sizes", "strides", "block", "expected"),
    [
        ((4096,), (1,), 64, (64,)),
        ((32, 128), (131072, 1), 64, (131072 - 128, 64)),
        ((32, 129), (131072, 1), 64, (131072 - 192, 64)),  # three steps of 64 go past the 129
        ((2, 3, 5), (100, 7, 2), 16, (100 - 21, 7 - 32, 32)),
    ],
)
def test_steps_of_an_address(sizes: tuple[int, ...], strides: tuple[int, ...], block: int, expected: tuple[int, ...]) -> None:
    assert triton_impl.steps(sizes, strides, block) == expected


@pytest.mark.parametrize(
    ("precision", "m", "n", "k", "batch", "aligned", "expected"),
    [
        ("bf16", 4096, 4096, 4096, 1, True, "128x256x64 w8 s4"),
        ("fp8_e4m3", 8192, 8192, 8192, 1, True, "128x256x128 w8 s4"),
        ("tf32", 4096, 4096, 4096, 1, True, "128x256x32 w8 s4"),
        ("fp32", 4096, 4096, 4096, 1, True, "128x128x16 w8 s3"),
        ("bf16", 2048, 2048, 2048, 1, True, "128x128x64 w4 s3"),  # 256 tiles, two on an SM; 128 of 128 × 256 would leave SMs idle
        ("bf16", 1408, 1536, 256, 1, True, "128x128x64 w8 s4"),  # 132 tiles, one on an SM
        ("bf16", 1, 4096, 4096, 1, True, "64x32x128 w4 s4"),  # decode
        ("bf16", 16, 1024, 4096, 1, True, "64x32x128 w4 s4 k4"),  # 32 tiles
        ("bf16", 16, 1024, 1024, 1, True, "64x32x128 w4 s4"),  # 8 steps are not worth splitting
        ("bf16", 16, 1024, 0, 1, True, "64x32x128 w4 s4"),  # k is several dims
        ("bf16", 512, 512, 16384, 1, True, "128x128x64 w8 s4 k8"),
        ("bf16", 1024, 1024, 4096, 1, True, "64x64x64 w4 s4"),  # partial sums would be as many bytes as the operands
        ("bf16", 1024, 64, 1024, 64, True, "64x64x64 w4 s4"),  # attention heads
        ("bf16", 4097, 4097, 4097, 1, False, "128x128x32 w8 s4"),  # no vector loads
        ("fp32", 4097, 4097, 4097, 1, False, "64x128x16 w8 s3"),
    ],
)
def test_choice(precision: str, m: int, n: int, k: int, batch: int, aligned: bool, expected: str) -> None:
    assert str(choose(precision, m, n, k, batch, aligned, H100_SMS)) == expected


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
        shipping = bulk_configs("tma", p.precision) if config.kernel == "tma" else shipped(p.precision)
        assert replace(config, split=1, copied="") in shipping, p.id
        assert config == triton_impl.choose_for(point(p.precision, p.dims, **p.options), H100_SMS), p.id


def test_rows_of_a_tile_are_enough_for_wgmma() -> None:
    for precision in PRECISIONS:
        for config in shipped(precision):
            assert config.block_m >= 64, config
