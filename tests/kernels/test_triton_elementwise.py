"""The Triton elementwise kernels: every function, precision and block, at shapes that end anywhere in a block and a row."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import triton.language as tl

from benches.correctness import check
from kernels.elementwise import functions, triton_impl
from kernels.elementwise.configs import choose, configs, tile
from kernels.elementwise.spec import FUNCTIONS, OP
from kernels.op import Inputs, Kernel, OpError, Point
from kernels.precisions import PRECISIONS
from kernels.registry import OPS
from kernels.support import Platform
from kernels.tensors import dtype_of

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # without a GPU, in Triton's interpreter
FORMATS = [name for name in PRECISIONS if name != "tf32"]
SHAPES = ((67, 131), (131, 67), (1, 1), (33, 48), (64, 32), (2, 4099))


def point(function: str, precision: str, m: int, n: int, to: str = "none") -> Point:
    return OP.point("triton", precision, {"m": m, "n": n}, {"function": function, "to": to})


def assert_right(p: Point) -> None:
    inputs = triton_impl.make_inputs(p, DEVICE, 11)
    for config in configs(*triton_impl.element_sizes(p)):
        verdict = check(OP, p, Kernel(triton_impl.bind(p, inputs, config, [])), inputs)
        assert verdict.ok, f"{p.id} {config}: {verdict.problem}"


@pytest.mark.slow
@pytest.mark.parametrize("precision", FORMATS)
@pytest.mark.parametrize("function", [f for f, entry in FUNCTIONS.items() if not entry.converts])
def test_function(function: str, precision: str) -> None:
    for m, n in SHAPES if function in ("triu", "bias_gelu_residual") else SHAPES[:3]:
        assert_right(point(function, precision, m, n))


@pytest.mark.slow
@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("precision", FORMATS)
def test_cast(precision: str, to: str) -> None:
    assert_right(point("cast", precision, 67, 131, to))


QUANTISERS = ("quantise_rows", "quantise_blocks")


@pytest.mark.slow
@pytest.mark.parametrize("to", ["fp8_e4m3", "fp8_e5m2"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("function", QUANTISERS)
def test_quantising(function: str, precision: str, to: str) -> None:
    """Both results against fp64: ragged, less than a block, whole blocks, and zeros."""
    for m, n, data in ((67, 131, "normal"), (1, 1, "normal"), (33, 256, "normal"), (127, 129, "integers"), (5, 127, "zeros")):
        options = {"function": function, "to": to, "data": data}
        for impl in ("torch", "triton"):
            p = OP.point(impl, precision, {"m": m, "n": n}, options)
            inputs = triton_impl.make_inputs(p, DEVICE, 11)
            verdict = check(OP, p, OP.impls[impl].load()(p, inputs), inputs)
            assert verdict.ok, f"{p.id}: {verdict.problem}"


@pytest.mark.slow
def test_rows_longer_than_a_tile_are_read_twice() -> None:
    p = point("quantise_rows", "bf16", 3, 16384 + 129, "fp8_e4m3")
    inputs = triton_impl.make_inputs(p, DEVICE, 11)
    assert check(OP, p, triton_impl.build(p, inputs), inputs).ok
    assert triton_impl.build(p, inputs).config == "1x16384 w16"


@pytest.mark.slow
def test_block_scales_are_those_that_a_block_scaled_product_takes() -> None:
    """a · b in fp64 from what was quantised differs from that of the operands by no more than both roundings."""
    p = point("quantise_blocks", "fp32", 33, 300, "fp8_e4m3")
    inputs = triton_impl.make_inputs(p, DEVICE, 5)
    values, scales = triton_impl.build(p, inputs).run()
    product = OPS["matmul"].point("triton", "fp8_e4m3", {"m": 33, "n": 128, "k": 300}, {"layout": "nt", "scaling": "block"})
    wanted = OPS["matmul"].load("make_inputs")(product, DEVICE, 1).operands
    assert (scales.shape, scales.stride()) == (wanted[2].shape, wanted[2].stride())
    restored = values.double() * scales.double().repeat_interleave(128, 1)[:, :300]
    (x,) = inputs.operands
    largest = scales.double().repeat_interleave(128, 1)[:, :300] * 448
    assert ((restored - x).abs() <= x.abs() * 2.0**-4 + largest * 2.0**-18 + 1e-30).all()


@pytest.mark.parametrize(
    ("share", "expected"), [(128, "32x128 w4"), (1, "4096x1 w4"), (4097, "1x8192 w8"), (5000, "1x8192 w8"), (65536, "1x16384 w16")]
)
def test_tile(share: int, expected: str) -> None:
    assert str(tile(share)) == expected


@pytest.mark.parametrize(("to", "message"), [("none", "needs `to`"), ("bf16", "quantise_rows writes fp8, not bf16")])
def test_quantising_writes_fp8(to: str, message: str) -> None:
    with pytest.raises(OpError, match=message):
        point("quantise_rows", "bf16", 2, 2, to)


def test_fp8_operands_are_quantised_already() -> None:
    p = point("quantise_blocks", "fp8_e4m3", 2, 2, "fp8_e4m3")
    for impl in OP.impls.values():
        assert "quantised already" in (impl.unsupported(p, Platform("cuda", (9, 0))) or "")


@pytest.mark.slow
def test_a_function_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that no other file names has correct results in both languages, a cost, and compilations for `inspect`."""
    monkeypatch.setattr(functions, "FUNCTIONS", {})
    functions.function(
        "1 / (1 + e^(−x))",
        4,
        reference=lambda x: 1 / (1 + torch.exp(-x)),
        eager=lambda out, x: torch.sigmoid(x, out=out),
        new=torch.sigmoid,
    )(sigmoid)
    (entry,) = functions.FUNCTIONS.values()
    for known in (FUNCTIONS, triton_impl.FUNCTIONS):
        monkeypatch.setitem(known, "sigmoid", entry)
    monkeypatch.setitem(triton_impl.BODIES, "sigmoid", triton_impl.triton.jit(entry.kernel))
    choices = (*OP.options["function"].choices, "sigmoid")
    monkeypatch.setitem(OP.options, "function", replace(OP.options["function"], choices=choices))  # type: ignore[arg-type]
    assert OP.cost(point("sigmoid", "fp32", 3, 5), "cuda").flops == 4 * 15
    for precision in FORMATS:
        assert_right(point("sigmoid", precision, 67, 131))
    eager = OP.point("torch", "bf16", {"m": 67, "n": 131}, {"function": "sigmoid"})
    inputs = OP.load("make_inputs")(eager, "cpu", 3)
    assert check(OP, eager, OP.impls["torch"].load()(eager, inputs), inputs).ok
    assert "sigmoid" in {c.variant for c in triton_impl.compilations()}


def sigmoid(x, y, v):
    return 1.0 / (1.0 + tl.exp(-x))


@pytest.mark.slow
@pytest.mark.parametrize("function", ["gelu", "gelu_tanh", "silu"])
def test_short_forms_are_right_everywhere(function: str) -> None:
    """Between the drawn values, far beyond them, and at what is not finite."""
    near = torch.linspace(-20, 20, 65_521)
    far = torch.tensor([3.4e38, 1e20, 1e5, 126.0, 88.8, 16.0, 1e-20, 1e-38, 1e-45, 0.0])
    x = torch.cat((near, far, -far)).to(DEVICE).reshape(1, -1)
    p = point(function, "fp32", 1, x.numel())
    got = triton_impl.build(p, Inputs((x,), torch.empty_like(x))).run()
    expected = OP.load("reference")(p, (x,))
    allowed = OP.load("tolerance")(p, (x,), expected)
    assert ((got.double() - expected).abs() <= allowed).all()
    special = torch.tensor([[torch.inf, torch.nan]], device=DEVICE)
    upper, not_a_number = triton_impl.build(point(function, "fp32", 1, 2), Inputs((special,), torch.empty_like(special))).run()[0]
    assert upper == torch.inf
    assert not_a_number.isnan()


@pytest.mark.parametrize("precision", ["fp8_e4m3", "fp8_e5m2"])
def test_copy_moves_every_bit_pattern(precision: str) -> None:
    """NaN payloads and negative zero too, which a trip through fp32 would change."""
    p = point("copy", precision, 2, 256)
    patterns = torch.arange(512, device=DEVICE).to(torch.uint8).reshape(2, 256)
    x = patterns.view(dtype_of(precision))
    result = triton_impl.build(p, Inputs((x,), torch.empty_like(x))).run()
    assert torch.equal(result.view(torch.uint8), patterns)


def test_64_bit_indices_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    real = triton_impl.call

    def call(*args: object) -> tuple[object, object, dict[str, object]]:
        kernel, tensors, settings = real(*args)
        return kernel, tensors, settings | {"LONG": True}

    monkeypatch.setattr(triton_impl, "call", call)
    for function in ("triu", "bias_gelu_residual"):
        assert_right(point(function, "bf16", 67, 131))


@pytest.mark.parametrize(("rows", "long"), [(32767, False), (32768, True)])
def test_2_to_the_31_elements_take_64_bit_indices(rows: int, long: bool) -> None:
    p = point("copy", "fp8_e4m3", rows, 65536)
    _, _, settings = triton_impl.call(p, triton_impl.make_inputs(p, "meta", None), configs(1, 1)[0])
    assert settings["LONG"] is long


@pytest.mark.parametrize(
    ("read", "written", "m", "n", "expected"),
    [
        (2, 2, 8192, 8192, "4096 w4"),
        (2, 2, 128, 128, "1024 w2"),
        (4, 4, 1, 1, "512 w2"),
        (1, 1, 8192, 8192, "8192 w4"),
        (1, 2, 8192, 8192, "4096 w4"),
        (1, 4, 8192, 8192, "4096 w4"),
        (4, 1, 8192, 8192, "2048 w4"),
        (1, 4, 1, 1, "2048 w2"),
    ],
)
def test_choice(read: int, written: int, m: int, n: int, expected: str) -> None:
    assert str(choose(read, written, m, n, 132)) == expected
    assert choose(read, written, m, n, 132) in configs(read, written)


@pytest.mark.parametrize("read", [1, 2, 4])
@pytest.mark.parametrize("written", [1, 2, 4])
def test_every_thread_loads_at_least_32_bytes(read: int, written: int) -> None:
    for config in configs(read, written):
        assert config.block * read >= 32 * 32 * config.warps


def test_build_runs_the_real_shapes_config_on_shrunk_inputs() -> None:
    p = point("gelu", "bf16", 16384, 16384)
    small = OP.shrink(p)
    inputs = triton_impl.make_inputs(small, DEVICE, 3)
    kernel = triton_impl.build(p, inputs)
    assert kernel.config == "4096 w4"
    verdict = check(OP, small, kernel, inputs)
    assert verdict.ok, verdict.problem


def test_unsupported_without_a_gpu_unless_interpreted() -> None:
    p = point("add", "bf16", 8, 8)
    unsupported = OP.impls["triton"].unsupported
    assert unsupported(p, Platform("cpu", interpreted=True)) is None
    assert "GPU" in (unsupported(p, Platform("cpu")) or "")
