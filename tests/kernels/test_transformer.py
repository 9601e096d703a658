"""Transformer passes: the reference's formula against the module, costs against real tensors, PyTorch's counter, measured allocations."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import pytest
import torch

from benches.correctness import tensors
from benches.devices import integrity
from benches.devices.tensors import TensorWorkload
from benches.timing.measure import gate
from kernels.allocator import held_bytes
from kernels.cost_model import predict, predict_phases
from kernels.gpus import load_gpu
from kernels.models.passes import leaf
from kernels.op import OpError, Point
from kernels.parts import Contraction
from kernels.rounding import EXACT
from kernels.transformer.data import evaluate, make_inputs, widened
from kernels.transformer.spec import OP, napkin
from kernels.transformer.torch_impl import model
from tests.kernels.test_models import counted
from tests.tensor_memory import peak_bytes

pytestmark = pytest.mark.slow

H100 = load_gpu("h100_sxm5")
BLOCK = {"batch": 2, "sequence": 19, "hidden": 28, "heads": 4, "feedforward": 41}
KINDS = list(product(("swiglu", "gelu"), ("rmsnorm", "layernorm"), ("sdpa", "plain")))
PASSES = ("forward", "backward", "both")


def point(
    scope: str, which: str, dims: dict[str, int], kinds: tuple[str, ...] = KINDS[0], precision: str = "fp32", impl: str = "torch"
) -> Point:
    options = dict(zip(("activation", "norm", "attention"), kinds, strict=True))
    return OP.point(impl, precision, dims, {"scope": scope, "pass": which, **options})


def drawn(seed: int) -> Point:
    """A small ragged point, a precision that a CPU has."""
    rng = random.Random(seed)
    scope, heads = rng.choice(("block", "model")), rng.choice((1, 2, 3, 5))
    dims = {
        "batch": rng.choice((1, 2, 3)),
        "sequence": rng.choice((2, 17, 31)),
        "hidden": heads * rng.choice((4, 7, 16, 33)),
        "heads": heads,
    }
    dims["feedforward"] = rng.choice((7, 129))
    if scope == "model":
        dims |= {"layers": rng.choice((1, 2, 3)), "vocab": rng.choice((2, 53, 211))}
    return point(scope, rng.choice(PASSES), dims, rng.choice(KINDS), rng.choice(("fp32", "bf16", "fp16")))


@pytest.mark.parametrize("kinds", KINDS, ids="-".join)
@pytest.mark.parametrize("scope", ["block", "model"])
def test_the_formula_is_the_module_in_fp64(scope: str, kinds: tuple[str, ...]) -> None:
    """Output or loss, and all gradients. The two share no code."""
    check_formula(point(scope, "both", BLOCK if scope == "block" else {**BLOCK, "layers": 2, "vocab": 53}, kinds))


def check_formula(made: Point) -> None:
    """Of a point with both passes: what the formula and the module give of the same operands in fp64."""
    operands = widened(make_inputs(made, "cpu", 1).operands)
    found = evaluate(made, operands, EXACT)
    given = [t.clone().requires_grad_() if t.is_floating_point() else t for t in operands]
    upstream = given.pop(1) if made.options["scope"] == "block" else None
    output = model(made)(*given)
    leaves = [t for t in given if t.is_floating_point()]
    error = 1e-10 if made.options["scope"] == "block" else 1e-6  # a model's loss is computed in fp32
    for mine, its in zip(found, (output, *torch.autograd.grad(output, leaves, upstream)), strict=True):
        torch.testing.assert_close(mine, its.detach(), rtol=error, atol=error, check_dtype=False)


@pytest.mark.parametrize("seed", range(60))
def test_flops_are_those_torch_counts(seed: int) -> None:
    made = drawn(seed)
    assert OP.cost(made, "cpu").flops == flops_that_torch_counts(made)


def flops_that_torch_counts(made: Point) -> int:
    """Of the point's passes, by PyTorch's own counter over the module."""
    given = list(make_inputs(made, "cpu", 1).operands)
    if made.options["scope"] == "block" and made.options["pass"] != "forward":
        given.pop(1)
    leaves = [leaf(t) if t.is_floating_point() else t for t in given]
    forward, backward = counted(lambda: model(made)(*leaves).sum())
    return {"forward": forward, "backward": backward, "both": forward + backward}[made.options["pass"]]


@pytest.mark.parametrize("seed", range(60))
def test_bytes_are_those_of_the_tensors(seed: int) -> None:
    made = drawn(seed)
    inputs, found = make_inputs(made, "cpu", 1), OP.cost(made, "cpu")
    operands, results = (sum(t.numel() * t.element_size() for t in some) for some in (inputs.operands, tensors(inputs.out)))
    assert found.bytes_written == results
    assert found.bytes_read > operands if made.options["pass"] == "backward" else found.bytes_read == operands


@pytest.mark.parametrize("seed", range(120))
def test_memory_is_what_is_allocated(seed: int) -> None:
    """To the byte: operands, then the most that the passes hold at once."""
    made = drawn(seed)
    assert OP.cost(made, "cpu").memory_bytes == peak_bytes(made)


# A GPU's norms on a CPU: one kernel forwards, which gives the result and fp32 statistics, and one backwards. What they compute in between
# is theirs, as on a GPU, and is not counted.


@torch.library.custom_op("gpu_norms::forward", mutates_args=())
def norm_forward(x: torch.Tensor, weight: torch.Tensor, eps: float, centred: bool) -> tuple[torch.Tensor, torch.Tensor]:
    wide = x.float()
    mean = wide.mean(-1, keepdim=True) if centred else torch.zeros_like(wide[..., :1])
    scale = ((wide - mean).square().mean(-1, keepdim=True) + eps).rsqrt()
    statistics = torch.cat((mean, scale), -1) if centred else scale.clone()
    return ((wide - mean) * scale * weight.float()).to(x.dtype), statistics


@torch.library.custom_op("gpu_norms::backward", mutates_args=())
def norm_backward(
    gradient: torch.Tensor, x: torch.Tensor, statistics: torch.Tensor, weight: torch.Tensor, centred: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    mean, scale = statistics.unbind(-1) if centred else (torch.zeros(()), statistics[..., 0])
    normal = (x.float() - mean[..., None]) * scale[..., None]
    through = gradient.float() * weight.float()
    through -= normal * (normal * through).mean(-1, keepdim=True)
    through -= through.mean(-1, keepdim=True) if centred else 0.0
    return (through * scale[..., None]).to(x.dtype), (gradient.float() * normal).flatten(0, -2).sum(0).to(weight.dtype)


class GpuNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float, centred: bool) -> torch.Tensor:
        result, statistics = norm_forward(x, weight, eps, centred)
        ctx.save_for_backward(x, weight, statistics)
        ctx.centred = centred
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        x, weight, statistics = ctx.saved_tensors
        return (*norm_backward(gradients[0], x, statistics, weight, ctx.centred), None, None)


@pytest.fixture
def gpu_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    def layer_norm(x: torch.Tensor, shape: Any, weight: torch.Tensor, bias: None, eps: float) -> torch.Tensor:
        return GpuNorm.apply(x, weight, eps, True)

    def rms_norm(x: torch.Tensor, shape: Any, weight: torch.Tensor, eps: float) -> torch.Tensor:
        return GpuNorm.apply(x, weight, eps, False)

    monkeypatch.setattr(torch.nn.functional, "layer_norm", layer_norm)
    monkeypatch.setattr(torch.nn.functional, "rms_norm", rms_norm)
    monkeypatch.setattr(integrity, "replaced", list)  # which would find both


@pytest.mark.parametrize("kinds", KINDS, ids="-".join)
def test_the_norms_of_these_tests_are_right(gpu_norms: None, kinds: tuple[str, ...]) -> None:
    made = point("block", "both", BLOCK, kinds, "bf16")
    verdict = gate(TensorWorkload(made, made, "cpu", seed=3))
    assert verdict.ok, verdict.problem


@pytest.mark.parametrize("seed", range(120))
def test_memory_is_what_is_allocated_with_the_norms_of_a_gpu(gpu_norms: None, seed: int) -> None:
    made = drawn(seed)
    assert OP.cost(made, "cuda").memory_bytes == peak_bytes(made)


@pytest.mark.parametrize("seed", range(60))
def test_devices_differ_by_their_norms_alone(seed: int) -> None:
    """FLOPs, traffic of forward passes and what is written are the same; in fp32 LayerNorm keeps the same too."""
    made = drawn(seed)
    gpu, cpu = (OP.cost(made, device) for device in ("cuda", "cpu"))
    assert (gpu.flops, gpu.bytes_written) == (cpu.flops, cpu.bytes_written)
    assert gpu.bytes_read == cpu.bytes_read or made.options["pass"] == "backward"
    if made.precision == "fp32" and made.options["norm"] == "layernorm":
        assert gpu == cpu


def test_memory_is_what_an_h100_held() -> None:
    """2,002,337,792 bytes with PyTorch 2.11 (docs/validation/2026-11-26-h100_sxm5-first-look): the difference is one weight's rounding."""
    dims = {"batch": 4, "sequence": 2048, "hidden": 2048, "heads": 16, "feedforward": 5504}
    made, down = point("block", "both", dims), 2048 * 5504 * 4
    assert OP.cost(made, "cuda").memory_bytes + held_bytes(down) - down == 2_002_337_792
    assert OP.cost(made, "cpu").memory_bytes == 2_135_506_944


@pytest.mark.parametrize("seed", range(60))
def test_parts_make_up_the_flops_and_both_passes(seed: int) -> None:
    made = drawn(seed)
    dims, options = made.dims, made.options
    found = OP.parts(made, OP.cost(made, "cpu"))
    flops = sum(2 * p.times * p.batch * p.m * p.n * p.k for p in found if isinstance(p, Contraction))
    if options["attention"] == "plain":
        assert flops == OP.cost(made, "cpu").flops
    else:
        assert OP.least_flops(made, OP.cost(made, "cpu")) <= flops <= OP.cost(made, "cpu").flops
    times = {w: predict([OP.point("torch", made.precision, dims, {**options, "pass": w})], H100).predicted_s[0] for w in PASSES}
    assert times["both"] == pytest.approx(times["forward"] + times["backward"])
    assert predict_phases(OP.point("torch", made.precision, dims, {**options, "pass": "both"}), H100) == pytest.approx(
        {"forward": times["forward"], "backward": times["backward"]}
    )


def test_napkin_of_a_block() -> None:
    made = point("block", "both", {"batch": 1, "sequence": 4096, "hidden": 4096, "heads": 32, "feedforward": 14336}, precision="bf16")
    assert napkin(made) == 6 * 4096 * (4 * 4096**2 + 3 * 4096 * 14336 + 2 * 4096)


def test_heads_must_divide_hidden() -> None:
    with pytest.raises(OpError, match="3 heads do not divide hidden 28"):
        point("block", "both", {**BLOCK, "heads": 3})
