"""Gradients: costs by hand and against real tensors, PyTorch's counter and measured allocations; the chain rule against autograd."""

from __future__ import annotations

import random

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benches.correctness import tensors
from kernels.gradient.data import evaluate, make_inputs
from kernels.gradient.spec import DIMS, OP, PASSES, napkin, parameters
from kernels.models.config import DeepLinear
from kernels.models.modules import functional_deep_linear
from kernels.op import Point
from kernels.parts import Contraction
from kernels.rounding import EXACT
from tests.tensor_memory import peak_bytes

SIZES = (1, 2, 3, 17, 64, 97, 127, 129)
LAYERS = (1, 2, 3, 5, 8)


def point(model: str, which: str, sizes: tuple[int, int, int], precision: str = "fp32", impl: str = "torch") -> Point:
    return OP.point(impl, precision, dict(zip(DIMS[model], sizes, strict=True)), {"model": model, "pass": which})


def drawn(seed: int) -> Point:
    """A ragged point, a precision that a CPU has."""
    rng = random.Random(seed)
    model, which = rng.choice(list(DIMS)), rng.choice(list(PASSES))
    sizes = (rng.choice(SIZES), rng.choice(SIZES), rng.choice(SIZES if model == "matmul" else LAYERS))
    return point(model, which, sizes, rng.choice(("fp32", "bf16", "fp16")))


# FLOPs, elements read, written, parameters, by hand: tokens 5, inputs 3, outputs 7; and tokens 5, width 3, layers 2: 2·9 + 3 = 21
COSTS = [
    ("matmul", "forward", (5, 3, 7), 2 * 5 * 21, 15 + 21, 35, 21),
    ("matmul", "backward", (5, 3, 7), 4 * 5 * 21, 15 + 21 + 35, 15 + 21, 21),
    ("matmul", "both", (5, 3, 7), 6 * 5 * 21, 15 + 21 + 35, 35 + 15 + 21, 21),
    ("deep_linear", "forward", (5, 3, 2), 2 * 5 * 21, 15 + 21, 5, 21),
    ("deep_linear", "backward", (5, 3, 2), 4 * 5 * 21 - 2 * 5 * 9, 15 + 21 + 5 + 2 * 15, 21, 21),  # and two activations read
    ("deep_linear", "both", (5, 3, 2), 6 * 5 * 21 - 2 * 5 * 9, 15 + 21 + 5, 5 + 21, 21),
    ("matmul", "both", (4096, 8192, 8192), 6 * 4096 * 8192**2, 2 * 4096 * 8192 + 8192**2, 2 * 4096 * 8192 + 8192**2, 8192**2),
]


@pytest.mark.parametrize(("model", "which", "sizes", "flops", "read", "written", "weights"), COSTS)
def test_costs_by_hand(model, which, sizes, flops, read, written, weights) -> None:
    made = point(model, which, sizes, "bf16")
    found = OP.cost(made, "cpu")
    assert (found.flops, found.bytes_read, found.bytes_written) == (flops, 2 * read, 2 * written)
    assert parameters(made) == weights
    assert napkin(made) == {"forward": 2, "backward": 4, "both": 6}[which] * sizes[0] * weights


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_flops_are_those_torch_counts(seed: int) -> None:
    made = drawn(seed)
    inputs = make_inputs(made, "cpu", 1)
    kernel = OP.impls["torch"].load()(made, inputs)
    with FlopCounterMode(display=False) as counter:
        kernel.run()
    assert OP.cost(made, "cpu").flops == counter.get_total_flops()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_memory_is_what_is_allocated(seed: int) -> None:
    """To the byte: operands, then the most that a pass holds at once."""
    made = drawn(seed)
    assert OP.cost(made, "cpu").memory_bytes == peak_bytes(made)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_bytes_are_those_of_the_tensors(seed: int) -> None:
    made = drawn(seed)
    inputs = make_inputs(made, "cpu", 1)
    found, size = OP.cost(made, "cpu"), inputs.operands[0].element_size()
    activations = made.dims["layers"] * made.dims["tokens"] * made.dims["width"] * size if made.options["model"] == "deep_linear" else 0
    read = sum(t.numel() * size for t in inputs.operands)
    assert found.bytes_read == read + (activations if made.options["pass"] == "backward" else 0)
    assert found.bytes_written == sum(t.numel() * size for t in tensors(inputs.out))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_the_chain_rule_by_hand_is_autograds(seed: int) -> None:
    made = drawn(seed)
    operands = [t.double() for t in make_inputs(made, "cpu", 1).operands]
    x, *rest = (t.clone().requires_grad_() for t in operands)
    upstream = None if made.options["pass"] == "forward" else rest.pop(0)
    if made.options["model"] == "matmul":
        output, leaves = x @ rest[0], [x, *rest]
    else:
        output, leaves = functional_deep_linear(DeepLinear(made.dims["width"], made.dims["layers"]))(x, *rest), rest
    expected = [] if made.options["pass"] == "backward" else [output]
    expected += [] if upstream is None else torch.autograd.grad(output, leaves, upstream)
    for mine, its in zip(evaluate(made, operands, EXACT), expected, strict=True):
        torch.testing.assert_close(mine, its.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(40))
def test_parts_are_the_products_of_the_pass(seed: int) -> None:
    made = drawn(seed)
    found = OP.parts(made, OP.cost(made, "cpu"))
    assert all(isinstance(part, Contraction) for part in found)
    assert sum(2 * p.times * p.batch * p.m * p.n * p.k for p in found) == OP.cost(made, "cpu").flops  # type: ignore[union-attr]
    assert {part.phase for part in found} == set(PASSES[made.options["pass"]])


def test_fp8_products_have_no_derivative() -> None:
    a, b = (torch.ones(16, 16).to(torch.float8_e4m3fn) for _ in range(2))
    product = torch._scaled_mm(a, b.T, scale_a=torch.ones(()), scale_b=torch.ones(()), out_dtype=torch.bfloat16)
    assert not product.requires_grad
    with pytest.raises(RuntimeError):
        torch.autograd.grad(product.sum(), a)
