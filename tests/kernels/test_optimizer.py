"""Optimizer steps: the rules against torch.optim in fp64, costs by hand, against real tensors and against measured allocations."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from kernels.op import Cost, Point
from kernels.optimizer.data import group, make_inputs
from kernels.optimizer.rules import RULES
from kernels.optimizer.spec import BETA1, BETA2, LR, METHODS, OP, STEPS_TAKEN, counters, has_master, state_precision
from kernels.optimizer.torch_impl import OPTIMIZERS, STATE_NAMES
from kernels.parameter_copies import OPTIMIZER_STATES
from kernels.precisions import PRECISIONS
from kernels.support import Platform
from tests.kernels.test_costs import shapes
from tests.tensor_memory import peak_bytes

CPU = Platform("cpu")
STORED = (("fp32", "none"), ("bf16", "none"), ("fp16", "none"), ("bf16", "fp32"), ("fp16", "fp32"))


def point(impl: str, method: str, tensors: int = 1, n: int = 127, precision: str = "fp32", master: str = "none") -> Point:
    return OP.point(impl, precision, {"tensors": tensors, "n": n}, {"method": method, "master": master})


HOW = {"torch": {"foreach": False}, "torch_foreach": {"foreach": True}, "torch_fused": {"fused": True}}
RUNNABLE = [(impl, method) for impl, method in product(HOW, METHODS) if OP.impls[impl].unsupported(point(impl, method), CPU) is None]


@pytest.mark.parametrize(("impl", "method"), RUNNABLE)
def test_rules_are_those_of_torch_optim_in_fp64(impl: str, method: str) -> None:
    """From the start, with zero state, over several steps with other gradients each."""
    torch.manual_seed(7)
    make, settings = OPTIMIZERS[method]
    parameter = torch.nn.Parameter(torch.randn(129, dtype=torch.float64))
    optimizer = make([parameter], lr=LR, **settings, **HOW[impl])
    p, state = parameter.detach().clone(), tuple(torch.zeros(129, dtype=torch.float64) for _ in range(OPTIMIZER_STATES[method]))
    for t in range(1, 8):
        g = torch.randn(129, dtype=torch.float64)
        p, state = RULES[method](p, g, state, (1 - BETA1**t, 1 - BETA2**t))
        parameter.grad = g
        optimizer.step()
        torch.testing.assert_close(parameter.detach(), p, rtol=1e-12, atol=1e-13)
    for name, mine in zip(STATE_NAMES[method], state, strict=True):
        torch.testing.assert_close(optimizer.state[parameter][name], mine, rtol=1e-12, atol=1e-13)


class Counted:
    """Stands for a parameter's value in a formula, and counts the operations on it."""

    def __init__(self, count: list[int]):
        self.count = count

    def _operation(self, other: object = None) -> Counted:
        self.count[0] += 1
        return self

    __add__ = __sub__ = __mul__ = __rmul__ = __truediv__ = sqrt = _operation


@pytest.mark.parametrize("method", METHODS)
def test_flops_are_the_operations_of_the_rule(method: str) -> None:
    count = [0]
    value = Counted(count)
    RULES[method](value, value, (value,) * OPTIMIZER_STATES[method], (0.1, 0.05))
    assert count[0] == METHODS[method].flops


# By hand, of 2 × 5 parameters: FLOPs by the formula; bytes a parameter read (gradient, state, weight or master) and written.
COSTS = [
    ("torch", "sgd", "fp32", "none", 2, 8, 4, 8 * 10),
    ("torch", "momentum", "fp32", "none", 4, 12, 8, 12 * 10),
    ("torch_fused", "adagrad", "fp32", "none", 7, 12, 8, 12 * 10 + 8),  # and two counters
    ("torch", "rmsprop", "fp32", "none", 9, 12, 8, 12 * 10 + 8 + 2 * 5 * 4),  # √s of this tensor and of the one before
    ("torch_foreach", "adam", "fp32", "none", 14, 16, 12, 16 * 10 + 8 + 2 * 5 * 4),  # √v of both
    ("torch_fused", "adamw", "fp32", "none", 15, 16, 12, 16 * 10 + 8),
    ("triton", "adamw", "fp32", "none", 15, 16, 12, 16 * 10 + 4),  # one counter
    ("torch", "adamw", "bf16", "none", 15, 8, 6, 8 * 10 + 8 + 3 * 5 * 2),
    ("triton", "adamw", "bf16", "fp32", 15, 14, 14, 16 * 10 + 4),  # 2 + 2 + 4 + 4 + 4
    ("torch_fused", "adamw", "bf16", "fp32", 15, 14, 14, 16 * 10 + 8 + 10 * 4),  # and the gradients in fp32
    ("torch_foreach", "sgd", "fp16", "fp32", 2, 6, 6, 8 * 10 + 10 * 4),
]


@pytest.mark.parametrize(("impl", "method", "precision", "master", "flops", "read", "written", "memory"), COSTS)
def test_costs(impl, method, precision, master, flops, read, written, memory) -> None:
    assert OP.cost(point(impl, method, 2, 5, precision, master), "cpu") == Cost(10 * flops, 10 * read, 10 * written, memory)


@pytest.mark.parametrize(
    ("impl", "method", "on_cpu", "on_gpu"),
    [
        ("torch", "sgd", 0, 0),
        ("torch", "adamw", 3, 0),  # torch.optim reads them on the host, where they stay
        ("torch_foreach", "adagrad", 3, 0),
        ("torch_fused", "adamw", 3, 3),
        ("triton", "adamw", 1, 1),
    ],
)
def test_counters_lie_where_the_step_reads_them(impl: str, method: str, on_cpu: int, on_gpu: int) -> None:
    made = point(impl, method, 3, 5)
    assert (counters(made, "cpu"), counters(made, "cuda")) == (on_cpu, on_gpu)
    assert OP.cost(made, "cpu").memory_bytes - OP.cost(made, "cuda").memory_bytes == 4 * (on_cpu - on_gpu)


# Most memory that PyTorch 2.11 held on an H100 (docs/validation/2026-11-26-h100_sxm5-first-look): whole blocks of its allocator.
ON_AN_H100 = [("torch", "adamw", 281_018_368), ("torch_foreach", "adagrad", 335_544_320), ("torch_fused", "sgd", 134_217_728)]


@pytest.mark.parametrize(("impl", "method", "measured"), ON_AN_H100)
def test_memory_is_what_an_h100_held(impl: str, method: str, measured: int) -> None:
    assert OP.cost(point(impl, method, 16, 2**20), "cuda").memory_bytes == measured


SIZES = [(tensors % 7 + 1, n) for tensors, n in shapes(60, 2, seed=8)]
CASES = list(zip(SIZES, [*product(METHODS, STORED)] * 2, strict=False))


@pytest.mark.slow
@pytest.mark.parametrize(("size", "case"), CASES)
def test_bytes_are_those_of_the_tensors(size: tuple[int, int], case: tuple[str, tuple[str, str]]) -> None:
    method, (precision, master) = case
    made = point("torch_fused", method, *size, precision, master)
    inputs, cost = make_inputs(made, "cpu", 1), OP.cost(made, "cpu")
    found = group(made, inputs.operands)
    unread = found.weights if has_master(made) else ()
    assert cost.bytes_read == sum(t.nbytes for t in inputs.operands) - sum(t.nbytes for t in unread)
    assert cost.bytes_written == sum(t.nbytes for t in inputs.updated)
    state = sum(t.nbytes for kind in found.state for t in kind)
    assert state == OPTIMIZER_STATES[method] * PRECISIONS[state_precision(made)].bytes * size[0] * size[1]
    widened = sum(4 * t.numel() for t in unread)
    assert cost.memory_bytes == sum(t.nbytes for t in inputs.operands) + widened + 4 * counters(made, "cpu")


ALLOCATED = [point(impl, method, *size, *stored) for impl in HOW for size, (method, stored) in CASES]


@pytest.mark.slow
@pytest.mark.parametrize("made", [p for p in ALLOCATED if OP.impls[p.impl].unsupported(p, CPU) is None], ids=lambda p: p.id)
def test_memory_is_what_is_allocated(made: Point) -> None:
    """Operands, counters, widened gradients and temporaries, to the byte."""
    assert OP.cost(made, "cpu").memory_bytes == peak_bytes(made)


@pytest.mark.parametrize(("impl", "method"), RUNNABLE)
def test_a_step_is_made_in_place_and_the_next_one_counts_on(impl: str, method: str) -> None:
    made = point(impl, method, 2, 131)
    inputs = make_inputs(made, "cpu", 5)
    kernel = OP.impls[impl].load()(made, inputs)
    expected = [t.double() for t in inputs.operands]
    for step in (STEPS_TAKEN + 1, STEPS_TAKEN + 2):
        found = group(made, tuple(expected))
        rule, bias = RULES[method], (1 - BETA1**step, 1 - BETA2**step)
        new = [rule(found.weights[i], found.gradients[i], tuple(kind[i] for kind in found.state), bias) for i in range(2)]
        state = [s[k] for k in range(len(found.state)) for _, s in new]
        expected = [*(p for p, _ in new), *found.gradients, *state]
        kernel.run()
        for mine, right in zip(inputs.operands, expected, strict=True):
            torch.testing.assert_close(mine.double(), right, rtol=1e-5, atol=1e-5)
    assert all(a is b for a, b in zip(kernel.run(), inputs.updated, strict=True))


@pytest.mark.parametrize(
    ("impl", "method", "precision", "master", "says"),
    [
        ("torch", "adamw", "fp32", "fp32", "their own master"),
        ("torch", "adamw", "tf32", "none", "multiply matrices"),
        ("torch_foreach", "sgd", "fp8_e5m2", "none", "8 bits"),
        ("torch_fused", "rmsprop", "fp32", "none", "no fused"),
        ("triton", "adamw", "fp32", "none", "needs a GPU"),
    ],
)
def test_what_cannot_run_says_why(impl: str, method: str, precision: str, master: str, says: str) -> None:
    assert says in str(OP.impls[impl].unsupported(point(impl, method, 1, 3, precision, master), CPU))


def test_the_triton_kernel_is_adamws() -> None:
    unsupported = OP.impls["triton"].unsupported
    assert "AdamW's" in str(unsupported(point("triton", "adam"), Platform("cuda", (9, 0))))
    assert unsupported(point("triton", "adamw"), Platform("cpu", interpreted=True)) is None


def test_ids() -> None:
    assert point("triton", "adamw", 3, 129, "bf16", "fp32").id == "optimizer-triton-bf16-adamw-3x129-master_fp32"
