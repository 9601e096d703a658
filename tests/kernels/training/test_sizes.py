"""FLOPs and memory of training steps by formula, against what PyTorch counts, keeps and allocates."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from kernels.op import Kernel, Point
from kernels.support import Platform
from kernels.training.memory import memory
from kernels.training.sizes import flops
from tests.kernels.training.cases import OP, PRECISIONS, drawn, step
from tests.tensor_memory import peak_bytes

aten = torch.ops.aten
# The counter knows the CUDA kernels' names, not the CPU's for the same products.
CPU_ATTENTION = {
    aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v),
    aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda g, q, k, v, *_, **__: sdpa_backward_flop_count(g, q, k, v),
}
CPU = Platform("cpu")
TINY = {"batch": 2, "sequence": 3, "layers": 1, "hidden": 4, "heads": 2, "feedforward": 5, "vocab": 7}


def kernel(point: Point) -> Kernel:
    return OP.impls["torch"].load()(point, OP.load("make_inputs")(point, "cpu", 1))


def test_flops_and_bytes_by_hand() -> None:
    """6 tokens; weights 4·12 + 4·4 + 4·10 + 5·4 of the block and 4·7 of the head; scores 2·2·3²·4 each way."""
    point = step("fp32", TINY)
    forward = 2 * 6 * (48 + 16 + 40 + 20 + 28) + 2 * 2 * (2 * 9 * 4)
    scores = 2 * (2 * 9 * 4)
    assert (flops(point).forward, flops(point).backward, flops(point).again) == (forward, 2 * forward, scores)
    parameters = (7 + 3 + 1 + 7) * 4 + (48 + 16 + 40 + 20 + 8)
    cost = OP.cost(point, "cpu")
    assert cost.bytes_read == 4 * 3 * parameters + 2 * 6 * 8
    assert cost.bytes_written == 4 * 4 * parameters
    assert flops(step("fp32", {"tokens": 5, "width": 3, "layers": 2})).model == 2 * 5 * (21 + 2 * 21 - 9)


def test_checkpointing_costs_flops_and_earns_no_mfu() -> None:
    plain, again = (step("bf16", TINY, checkpointing=c) for c in ("none", "full"))
    assert flops(again).model == flops(plain).model
    assert flops(again).hardware > flops(plain).hardware
    assert memory(again, "cuda").activations < memory(plain, "cuda").activations


@pytest.mark.slow
@pytest.mark.parametrize("point", drawn(60, seed=1, precisions=("fp32", "bf16", "fp16")), ids=lambda p: p.id)
def test_flops_are_those_torch_counts(point: Point) -> None:
    built = kernel(point)
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        built.run()
    assert OP.cost(point, "cpu").flops == counter.get_total_flops()


@pytest.mark.slow
@pytest.mark.parametrize("point", drawn(60, seed=2), ids=lambda p: p.id)
def test_activations_are_what_autograd_keeps(point: Point) -> None:
    """To the byte, each storage once, parameters and batch left out."""
    built = kernel(point)
    calls = dict(built.phases)
    calls["data"]()
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        calls["forward"]()
    loop = calls["data"].__self__  # type: ignore[attr-defined]
    others = {t.untyped_storage().data_ptr() for t in (*loop.parameters, *loop.batch)}
    assert sum(t.untyped_storage().nbytes() for address, t in kept.items() if address not in others) == memory(point, "cpu").activations


LARGE = [p for p in drawn(300, seed=3, precisions=("fp32", "bf16", "fp8_e4m3")) if p.dims.get("tokens", p.dims.get("sequence", 0)) >= 7]
LARGE = [p for p in LARGE if p.dims.get("width", p.dims.get("hidden", 0)) >= 14 and p.dims.get("feedforward", 99) >= 20][:60]


@pytest.mark.slow
@pytest.mark.parametrize("point", LARGE, ids=lambda p: p.id)
def test_peak_is_about_what_is_allocated(point: Point) -> None:
    """An estimate: sizes whose tensors outweigh what is left out of it."""
    assert OP.cost(point, "cpu").memory_bytes == memory(point, "cpu").peak
    assert OP.cost(point, "cuda").memory_bytes == memory(point, "cuda").peak
    assert memory(point, "cpu").peak == pytest.approx(peak_bytes(point), rel=0.2 if point.precision == "fp8_e4m3" else 0.15)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adagrad", "rmsprop", "adam", "adamw"])
def test_state_is_what_the_optimizer_holds(optimizer: str) -> None:
    """Beside one step counter a parameter tensor, 4 bytes."""
    point = step("fp32", {"tokens": 5, "width": 31, "layers": 3}, optimizer=optimizer)
    built = kernel(point)
    state = dict(built.phases)["data"].__self__.optimizer.state  # type: ignore[attr-defined]
    assert sum(t.nbytes for s in state.values() for t in s.values() if t.dim()) == memory(point, "cpu").optimizer


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("dims", [{"tokens": 4096, "width": 1000, "layers": 9}, TINY, {name: 64 * size for name, size in TINY.items()}])
def test_a_shrunk_step_is_small_and_runs(precision: str, dims: dict[str, int]) -> None:
    small = OP.shrink(step(precision, dims))
    assert OP.impls["torch"].unsupported(small, CPU) is None
    assert memory(small, "cpu").weights < 50_000
    assert set(small.dims) == set(dims)
