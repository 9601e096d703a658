"""The parts that a step's prediction adds up: every product once a phase, and nothing that does not belong."""

from __future__ import annotations

import pytest

from kernels.cost_model import predict, predict_phases, rooflines_s
from kernels.gpus import Ceilings, load_gpu
from kernels.op import Point
from kernels.parts import Contraction, Stream
from kernels.training.parts import parts
from kernels.training.sizes import flops
from tests.kernels.training.cases import OP, drawn, step

pytestmark = pytest.mark.slow

H100 = load_gpu("h100_sxm5")
PHASES = ["data", "forward", "backward", "optimizer"]
TINY = {"batch": 2, "sequence": 3, "layers": 1, "hidden": 4, "heads": 2, "feedforward": 5, "vocab": 7}


def products(point: Point, phase: str) -> int:
    found = (p for p in parts(point, OP.cost(point, "cpu")) if isinstance(p, Contraction) and p.phase == phase)
    return sum(2 * p.batch * p.m * p.n * p.k * p.times for p in found)


@pytest.mark.parametrize("point", drawn(60, seed=7), ids=lambda p: p.id)
def test_products_are_the_flops(point: Point) -> None:
    """All of the cost's FLOPs, but that a checkpointed block's last product is predicted where PyTorch leaves it out."""
    counted = flops(point)
    assert products(point, "forward") == counted.forward
    left_out = 0
    if point.options["checkpointing"] == "full":
        d = point.dims
        left_out = 2 * d["batch"] * d["sequence"] * d["feedforward"] * d["hidden"] * d["layers"]
    assert products(point, "backward") == counted.backward + counted.again + left_out


@pytest.mark.parametrize("point", drawn(12, seed=8), ids=lambda p: p.id)
def test_phases_add_up_to_the_whole(point: Point) -> None:
    phases = predict_phases(point, H100)
    assert list(phases) == PHASES
    assert sum(phases.values()) == pytest.approx(float(predict([point], H100).predicted_s[0]))
    assert min(phases.values()) > 0


def test_the_batch_crosses_the_link_and_the_optimizer_streams() -> None:
    """By hand: 12 tokens of 8 bytes in and out, at 64 GB/s; AdamW reads 16 and writes 12 bytes a parameter."""
    point = step("bf16", TINY)
    data, *_, optimizer = parts(point, OP.cost(point, "cpu"))
    assert data == Stream(2 * 6 * 8, 0, phase="data", over_link=True)
    assert optimizer == Stream(28 * 204, 0, phase="optimizer")
    large = step("bf16", TINY | {"batch": 10**6})
    assert predict_phases(large, H100)["data"] == pytest.approx(10**6 * 3 * 16 / 64e9 / 0.98, rel=0.1)


def test_without_fitted_constants_each_part_has_its_roofline() -> None:
    """By hand: a product bound by its FLOPs, a stream by the memory, one over the link."""
    ceilings = Ceilings(peak_flops_per_s={"fp32": 1e9}, bandwidth_bytes_per_s=1e9, host_link_bytes_per_s=1e8)
    point = step("fp32", TINY)
    found = [Contraction(False, 1, 10, 10, 10, 4, 100, times=3), Stream(500, 0, times=2), Stream(500, 0, over_link=True)]
    assert rooflines_s([(point, found), (point, [])], ceilings).tolist() == pytest.approx([3 * 2e-6 + 2 * 5e-7 + 5e-6, 0.0])
    assert list(predict_phases(point, ceilings)) == PHASES


def test_modes_differ_as_they_should() -> None:
    """Large products: tf32 is slower than bf16, fp8 no slower; computing again costs backward time only."""
    dims = {"batch": 1, "sequence": 2048, "layers": 2, "hidden": 4096, "heads": 32, "feedforward": 14336, "vocab": 32768}
    tf32, bf16, fp8 = (float(predict([step(p, dims)], H100).predicted_s[0]) for p in ("tf32", "bf16", "fp8_e4m3"))
    assert fp8 < bf16 < tf32
    kept, again = (predict_phases(step("bf16", dims, checkpointing=c), H100) for c in ("none", "full"))
    assert again["backward"] > 1.2 * kept["backward"]
    assert again["forward"] == kept["forward"]
