"""The Triton copy kernel: every copy and precision, at shapes that end anywhere in a tile."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benches.correctness import check
from kernels.compilation import platform_of
from kernels.layout import triton_impl
from kernels.layout.strided import FUNCTIONS
from kernels.op import Inputs, Kernel
from kernels.precisions import PRECISIONS
from kernels.registry import OPS
from kernels.support import Platform
from kernels.tensors import dtype_of

OP = OPS["layout"]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # without a GPU, in Triton's interpreter
COPIES = [name for name, f in FUNCTIONS.items() if f.makes.startswith("copy")]
SHAPES = ((67, 131), (131, 67), (2, 4099), (129, 2))


@pytest.mark.slow
@pytest.mark.parametrize("precision", [name for name in PRECISIONS if name != "tf32"])
@pytest.mark.parametrize("name", COPIES)
def test_copies(name: str, precision: str) -> None:
    for m, n in SHAPES if precision == "bf16" else SHAPES[:1]:  # bits are moved: precisions differ by their width alone
        p = OP.point("triton", precision, {"m": m, "n": n}, {"function": name})
        inputs = triton_impl.make_inputs(p, DEVICE, 11)
        verdict = check(OP, p, triton_impl.build(p, inputs), inputs)
        assert verdict.ok, f"{p.id}: {verdict.problem}"


@pytest.mark.slow
@pytest.mark.parametrize("name", COPIES)
def test_a_dim_of_one_is_a_view_or_copied(name: str) -> None:
    for m, n in ((1, 131), (131, 1), (1, 1)):
        p = OP.point("triton", "bf16", {"m": m, "n": n}, {"function": name})
        if OP.is_view(p):
            assert "a view launches no kernel" in str(OP.impls["triton"].unsupported(p, Platform("cuda", (9, 0))))
            continue
        inputs = triton_impl.make_inputs(p, DEVICE, 11)
        assert check(OP, p, triton_impl.build(p, inputs), inputs).ok


@pytest.mark.parametrize("precision", ["fp8_e4m3", "fp8_e5m2"])
def test_every_bit_pattern_is_moved(precision: str) -> None:
    """NaN payloads and negative zero too, which a trip through fp32 would change."""
    p = OP.point("triton", precision, {"m": 2, "n": 256}, {"function": "contiguous"})
    patterns = torch.arange(512, device=DEVICE).to(torch.uint8).reshape(2, 256)
    x = patterns.view(dtype_of(precision))
    result = triton_impl.build(p, Inputs((x,), torch.empty(256, 2, dtype=x.dtype, device=DEVICE))).run()
    assert torch.equal(result.view(torch.uint8), patterns.t())


def test_64_bit_indices_copy_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    real = triton_impl.call

    def call(*args: object) -> tuple[dict[str, object], dict[str, object]]:
        arguments, settings = real(*args)  # type: ignore[arg-type]
        return arguments, settings | {"LONG": True}

    monkeypatch.setattr(triton_impl, "call", call)
    p = OP.point("triton", "bf16", {"m": 67, "n": 131}, {"function": "contiguous"})
    inputs = triton_impl.make_inputs(p, DEVICE, 11)
    assert check(OP, p, triton_impl.build(p, inputs), inputs).ok


@pytest.mark.parametrize(("rows", "long"), [(32000, False), (32768, True)])
def test_2_to_the_31_elements_take_64_bit_indices(rows: int, long: bool) -> None:
    p = OP.point("triton", "fp8_e4m3", {"m": rows, "n": 65536}, {"function": "contiguous"})
    source, target = triton_impl.pieces(p, triton_impl.make_inputs(p, "meta", None))[0]
    _, settings = triton_impl.call(source, target, triton_impl.choose(source, platform_of(source)))
    assert settings["LONG"] is long


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "precision", "config"),
    [
        ("contiguous", "bf16", "64x64 w4"),
        ("contiguous", "fp8_e5m2", "128x128 w4"),
        ("clone", "fp32", "4x1024 w4"),
        ("column_copy", "bf16", "1x2048 w4"),
    ],
)
def test_build_runs_the_real_shapes_config_on_shrunk_inputs(name: str, precision: str, config: str) -> None:
    p = OP.point("triton", precision, {"m": 16384, "n": 8192}, {"function": name})
    small = OP.shrink(p)
    inputs = triton_impl.make_inputs(small, DEVICE, 3)
    kernel = triton_impl.build(p, inputs)
    assert kernel.config == config
    assert check(OP, small, kernel, inputs).ok


def test_an_unwritten_tile_is_seen() -> None:
    """The gate fills the output with NaN before the launch: a grid that is one tile short leaves it there."""
    p = OP.point("triton", "fp32", {"m": 67, "n": 131}, {"function": "contiguous"})
    inputs = triton_impl.make_inputs(p, DEVICE, 11)
    kernel = triton_impl.build(p, inputs)

    def short() -> torch.Tensor:
        (arguments, settings), *_ = [triton_impl.call(*piece, triton_impl.Config(64, 64)) for piece in triton_impl.pieces(p, inputs)]
        triton_impl.copy_kernel[(5,)](**arguments, **settings, num_warps=4)
        return inputs.out

    assert not check(OP, p, replace(kernel, run=short), inputs).ok
    assert check(OP, p, Kernel(kernel.run), inputs).ok
