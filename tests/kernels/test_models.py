"""Models: parameters, FLOPs and kept activations by formula against the modules; why initial weights are scaled by 1/√fan-in."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from benches.devices.allocations import held_by_tensors
from kernels.models import activations
from kernels.models.architecture import plain_gpt
from kernels.models.config import DeepLinear, Transformer, napkin_flops
from kernels.models.modules import build, loss, scaled_normal
from kernels.napkin.memory import activations_of_layer
from kernels.napkin.setup import Split
from kernels.parameter_copies import SCHEMES

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def drawn(seed: int) -> tuple[Transformer, int, int, torch.dtype]:
    """A small ragged Transformer, batch, sequence, dtype."""
    rng = random.Random(seed)
    heads = rng.choice((1, 2, 3, 5))
    config = Transformer(
        vocab=rng.choice((11, 101)),
        layers=rng.choice((1, 2, 3)),
        hidden=heads * rng.choice((1, 3, 4, 7, 16)),
        heads=heads,
        feedforward=rng.choice((1, 7, 37)),
        activation=rng.choice(("swiglu", "gelu")),
        norm=rng.choice(("rmsnorm", "layernorm")),
        context=19,
        attention=rng.choice(("sdpa", "plain")),
    )
    return config, rng.choice((1, 2, 3)), rng.choice((1, 2, 5, 17)), rng.choice(DTYPES)


def tokens(config: Transformer, batch: int, sequence: int) -> tuple[Tensor, Tensor]:
    drawn_from = torch.Generator().manual_seed(7)
    return tuple(torch.randint(config.vocab, (batch, sequence), generator=drawn_from) for _ in range(2))  # type: ignore[return-value]


CASES = list(range(60))
DEEP = [(width, layers, 1 + 7 * i % 31) for i, (width, layers) in enumerate((w, n) for w in (1, 2, 17, 64, 97, 129) for n in range(9))]


@pytest.mark.slow
@pytest.mark.parametrize("seed", CASES)
def test_transformer_parameters_are_the_modules(seed: int) -> None:
    config, *_, dtype = drawn(seed)
    module = build(config, "meta", dtype, None)
    assert config.parameters == sum(p.numel() for p in module.parameters())
    assert config.weights == {name: tuple(p.shape) for name, p in module.named_parameters()}
    assert config.block_parameters == sum(math.prod(shape) for shape in config.block_weights.values())


@pytest.mark.slow
@pytest.mark.parametrize(("width", "layers", "rows"), DEEP)
def test_deep_linear_parameters_and_flops_are_the_modules(width: int, layers: int, rows: int) -> None:
    config = DeepLinear(width, layers)
    module = build(config, "cpu", torch.float32, 1)
    assert config.parameters == sum(p.numel() for p in module.parameters())
    forward, backward = counted(lambda: module(torch.ones(rows, width)).sum())
    assert (config.forward_flops(rows), config.backward_flops(rows)) == (forward, backward)
    assert config.forward_flops(rows) == config.napkin_flops(rows)  # to the FLOP, forwards


def counted(forward: Callable[[], Tensor]) -> tuple[int, int]:
    """FLOPs of a forward and a backward pass as PyTorch counts them."""
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        result = forward()
    first = counter.get_total_flops()
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        result.backward()
    return first, counter.get_total_flops()


# PyTorch's counter knows the fused attention of GPUs only; its own formulas, for the CPU's kernel.
CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *a, out_shape=None, **b: sdpa_flop_count(q, k, v),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda g, q, k, v, *a, out_shape=None, **b: sdpa_backward_flop_count(g, q, k, v)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", CASES)
def test_transformer_flops_are_those_torch_counts(seed: int) -> None:
    config, batch, sequence, dtype = drawn(seed)
    module = build(config, "cpu", dtype, 1)
    forward, backward = counted(lambda: loss(module, tokens(config, batch, sequence)))
    assert (config.forward_flops(batch, sequence), config.backward_flops(batch, sequence)) == (forward, backward)


def test_napkin_and_exact_flops_of_a_known_model() -> None:
    """A Llama-3-8B-shaped model with 32 full key-value heads, by hand: 32·(4·4096² + 3·4096·14336) + 2·128256·4096 + …"""
    config = Transformer(128256, 32, 4096, 32, 14336, "swiglu", "rmsnorm", 8192, "plain")
    matrices = 32 * (4 * 4096**2 + 3 * 4096 * 14336)
    assert config.parameters == matrices + 2 * 128256 * 4096 + 8192 * 4096 + 65 * 4096
    exact = 3 * config.forward_flops(1, 8192)
    assert exact == 6 * 8192 * (matrices + 128256 * 4096) + 3 * 32 * 4 * 8192**2 * 4096
    assert config.napkin_flops(8192, 6) == napkin_flops(config.parameters, 8192, 6)
    assert exact / config.napkin_flops(8192, 6) == pytest.approx(1.179, abs=0.001)  # attention's share, less the lookups


def kept(module: nn.Module, batch: tuple[Tensor, Tensor]) -> int:
    """Bytes of the storages that autograd keeps, parameters and inputs left out."""
    own = {t.untyped_storage().data_ptr() for t in (*module.parameters(), *batch)}
    sizes: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        held = loss(module, batch)
    assert held.requires_grad  # alive until here, so no address was used twice
    return sum(size for address, size in sizes.items() if address not in own)


@pytest.mark.slow
@pytest.mark.parametrize("seed", CASES)
def test_activations_are_those_autograd_keeps(seed: int) -> None:
    config, batch, sequence, dtype = drawn(seed)
    module = build(config, "cpu", dtype, 1)
    assert activations.model(config, batch, sequence, dtype.itemsize, "cpu") == kept(module, tokens(config, batch, sequence))


@pytest.mark.slow
@pytest.mark.parametrize("seed", CASES)
def test_checkpointed_activations_are_what_stays_allocated(seed: int) -> None:
    config, batch, sequence, dtype = drawn(seed)
    module = build(config, "cpu", dtype, 1)
    module.checkpoint = True
    data = tokens(config, batch, sequence)
    result, found = held_by_tensors(lambda: loss(module, data))
    expected = activations.model(config, batch, sequence, dtype.itemsize, "cpu", checkpoint=True)
    assert found.net_bytes == expected + result.element_size()


@pytest.mark.parametrize("seed", range(6))
def test_checkpointing_changes_no_gradient(seed: int) -> None:
    config, batch, sequence, _ = drawn(seed)
    module = build(config, "cpu", torch.float64, 1)
    data = tokens(config, batch, sequence)
    plain = torch.autograd.grad(loss(module, data), list(module.parameters()))
    module.checkpoint = True
    again = torch.autograd.grad(loss(module, data), list(module.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("width", "layers", "rows"), DEEP)
def test_deep_linear_activations(width: int, layers: int, rows: int) -> None:
    module = build(DeepLinear(width, layers), "cpu", torch.bfloat16, 1)
    data = torch.ones(rows, width, dtype=torch.bfloat16), torch.ones(rows, 1, dtype=torch.bfloat16)
    output = rows * 2  # kept by the loss
    assert activations.deep_linear(DeepLinear(width, layers), rows, 2) + output == kept(module, data)


def test_activations_beside_korthikanti() -> None:
    """The same GELU block in 16 bits: theirs has two dropout masks of hidden bytes, and 3·heads·sequence of the scores' dropout more."""
    hidden, heads, sequence, batch = 96, 4, 33, 3
    config = Transformer(1, 1, hidden, heads, 4 * hidden, "gelu", "layernorm", sequence, "plain")
    ours = activations.block(config, batch, sequence, 2, "cuda")
    statistics = 2 * 2 * 4 * batch * sequence  # two norms, two fp32 numbers a token, which they leave out
    shape = replace(plain_gpt(1, hidden, heads), dropout=True)
    theirs = batch * sequence * activations_of_layer(shape, SCHEMES["mixed"], Split(), sequence, "none", "plain")
    assert theirs - (ours - statistics) == batch * sequence * (2 * hidden + 3 * heads * sequence)


@pytest.mark.parametrize("attention", ["sdpa", "plain"])
def test_attention_is_causal_and_both_ways_agree(attention: str) -> None:
    config = Transformer(53, 2, 24, 3, 37, "swiglu", "rmsnorm", 19, attention)  # type: ignore[arg-type]
    module = build(config, "cpu", torch.float64, 1)
    inputs, _ = tokens(config, 2, 19)
    changed = inputs.clone()
    changed[:, 11] = (changed[:, 11] + 1) % 53
    before, after = module(inputs), module(changed)
    assert torch.equal(before[:, :11], after[:, :11])
    assert (before[:, 11:] != after[:, 11:]).any(-1).all()
    other = build(Transformer(53, 2, 24, 3, 37, "swiglu", "rmsnorm", 19, "plain"), "cpu", torch.float64, 1)
    torch.testing.assert_close(before, other(inputs))


def test_heads_must_divide_hidden() -> None:
    with pytest.raises(ValueError, match="5 heads do not divide hidden 24"):
        Transformer(53, 2, 24, 5, 37, "swiglu", "rmsnorm", 19)


def test_same_seed_same_weights_in_every_dtype() -> None:
    wide, narrow = (build(DeepLinear(17, 2), "cpu", dtype, 3) for dtype in (torch.float32, torch.bfloat16))
    other = build(DeepLinear(17, 2), "cpu", torch.float32, 4)
    for a, b, c in zip(wide.parameters(), narrow.parameters(), other.parameters(), strict=True):
        assert torch.equal(a.bfloat16(), b)
        assert not torch.equal(a, c)


@pytest.mark.slow
@pytest.mark.parametrize("width", [64, 257, 1024])
def test_without_scaling_activations_grow_by_the_root_of_the_width_at_each_layer(width: int) -> None:
    """A sum of `width` products of unit normals has deviation √width; with weights scaled by 1/√fan-in it stays 1 at every depth.

    Truncation at ±3σ takes 2.7% of the variance, 1.3% of the size at each layer.
    """
    module = build(DeepLinear(width, 12), "cpu", torch.float32, 5)
    x = torch.randn(256, width, generator=torch.Generator().manual_seed(1))
    scaled = unscaled = x
    for depth, layer in enumerate(module.layers, 1):  # type: ignore[union-attr,arg-type]
        scaled, unscaled = layer(scaled), layer(unscaled) * math.sqrt(width)
        size = float(unscaled.double().square().mean().sqrt())
        assert size == pytest.approx(math.sqrt(width) ** depth, rel=0.3)
        assert float(scaled.double().square().mean().sqrt()) == pytest.approx(1, abs=0.3)
    assert float(module.head(scaled).square().mean().sqrt()) == pytest.approx(1, abs=0.6)  # type: ignore[operator]


@pytest.mark.parametrize("layers", [1, 4, 16])
def test_a_deep_transformers_logits_are_of_unit_size(layers: int) -> None:
    config = Transformer(503, layers, 128, 4, 256, "swiglu", "rmsnorm", 32)
    module = build(config, "cpu", torch.float32, 5)
    logits = module(tokens(config, 4, 32)[0])
    assert float(logits.square().mean().sqrt()) == pytest.approx(1, abs=0.15)


def test_weights_are_normal_up_to_three_deviations() -> None:
    weights = scaled_normal(torch.Size((400, 400)), 400, torch.device("cpu"), torch.Generator().manual_seed(1)) * 20
    assert float(weights.abs().max()) <= 3
    assert float((weights.abs() > 2.9).float().mean()) > 0
    assert float(weights.std()) == pytest.approx(0.9866, abs=0.005)  # of a normal truncated at ±3
    assert float(weights.mean()) == pytest.approx(0, abs=0.01)
