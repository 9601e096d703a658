"""optimizer: one step over `tensors` tensors of `n` parameters each, updated in place.

Weights, gradients and state are stored in the precision. With `master: fp32` weights and gradients are, and the step is made on an fp32
copy of the weights with fp32 state, then written to the weights: 2 + 2 + 4 + 4 + 4 bytes a parameter with Adam (Micikevicius et al. 2018).

FLOPs a parameter count each add, subtract, multiply, divide and root of the formula as one; what depends on the step alone, such as
1 − β₁ᵗ or lr · λ, is computed once and counts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from kernels import support
from kernels.op import DATA, Cost, Impl, Op, Option, Point
from kernels.parameter_copies import OPTIMIZER_STATES, SCHEMES, Scheme
from kernels.parts import Part
from kernels.precisions import PRECISIONS
from kernels.support import DeviceKind, Platform


@dataclass(frozen=True)
class Method:
    """An update rule: p weight, g gradient, t the step's number, from 1."""

    formula: str
    flops: int  # a parameter
    temporaries: Callable[[int], tuple[int, int]]  # of PyTorch without fusion: whole tensors at once, (one by one, all at once)
    operators: Callable[[int], tuple[int, int, int]]  # that PyTorch calls, as the dispatcher counts them: (…, …, fused)


def _no_temporaries(tensors: int) -> tuple[int, int]:
    return 0, 0


# The table of conventions: count the operations in the formula. Temporaries are read off torch.optim: one by one, what the tensor
# before left behind lives until it is replaced; all at once (foreach), each temporary is there for every tensor.
METHODS = {
    "sgd": Method("p ← p − lr · g", 2, _no_temporaries, lambda tensors: (2 + tensors, 3, 3)),
    "momentum": Method("b ← μ · b + g; p ← p − lr · b", 4, _no_temporaries, lambda tensors: (2 + 3 * tensors, 5, 3)),
    # √s, and foreach's −lr · g
    "adagrad": Method(
        "s ← s + g · g; p ← p − lr · g / (√s + ε)",
        7,
        lambda tensors: (min(tensors, 2), 2 * tensors),
        lambda tensors: (2 + 6 * tensors, 9 + tensors, 4),
    ),
    "rmsprop": Method(
        "s ← α · s + (1 − α) · g · g; p ← p − lr · g / (√s + ε)",
        9,
        lambda tensors: (min(tensors, 2), tensors),
        lambda tensors: (2 + 6 * tensors, 9, 9),
    ),
    # √v, and one by one √v divided by √(1 − β₂ᵗ)
    "adam": Method(
        "m ← β₁ · m + (1 − β₁) · g; v ← β₂ · v + (1 − β₂) · g · g; p ← p − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)",
        14,
        lambda tensors: (min(tensors, 2) + 1, tensors),
        lambda tensors: (2 + 9 * tensors, 11 + 2 * tensors, 4),
    ),
    "adamw": Method(
        "p ← (1 − lr · λ) · p, then as adam",
        15,
        lambda tensors: (min(tensors, 2) + 1, tensors),
        lambda tensors: (2 + 10 * tensors, 12 + 2 * tensors, 4),
    ),
}

# Chosen so that an error in any of them shows over the rounding of 16 bits: β₂ as language models are trained with (Brown et al. 2020,
# appendix B), lr and ε far larger. None of them changes what a step costs.
LR = 0.25
MOMENTUM = 0.9
ALPHA = 0.9
BETA1, BETA2 = 0.9, 0.95
WEIGHT_DECAY = 0.1
EPS = 0.125
STEPS_TAKEN = 1  # before the launch that is checked: bias correction is then large

COUNTER_BYTES = 4  # torch.optim counts the steps of each tensor in a tensor of its own, fp32
WITHOUT_COUNTER = ("sgd", "momentum")

OPTIONS = {
    "method": Option(tuple(METHODS), None, "The update rule.", leading=True),
    "master": Option(
        ("none", "fp32"),
        "none",
        "Whether the step updates a wider copy of the weights, the masters, and rounds the weights from it.",
        form="master_{}",
    ),
    "data": DATA,
}


def has_master(point: Point) -> bool:
    """Whether an fp32 copy of the weights is kept."""
    return point.options["master"] != "none"


def state_precision(point: Point) -> str:
    """Of the state, and of the weights that the step is made on."""
    return point.options["master"] if has_master(point) else point.precision


def scheme(point: Point) -> Scheme:
    """Bytes a parameter takes in each of its copies."""
    size = PRECISIONS[point.precision].bytes
    mixed = SCHEMES["mixed"]
    return Scheme(size, size, mixed.master, mixed.state) if has_master(point) else Scheme(size, size, 0, size)


@dataclass(frozen=True)
class StepImpl(Impl):
    """An implementation of a step. `eager`: each operation of the formula writes a tensor, rounded to its precision, for one tensor after
    the other or for all at once; None: the step is fused."""

    eager: Literal["one by one", "all at once"] | None = None


def implementation(point: Point) -> Impl | None:
    """The implementation of a point; None for one of another version."""
    return OP.impls.get(point.impl)


def eager(point: Point) -> Literal["one by one", "all at once"] | None:
    """`StepImpl.eager` of a point's implementation; None for any other kind of implementation."""
    found = implementation(point)
    return found.eager if isinstance(found, StepImpl) else None


def in_triton(point: Point) -> bool:
    """Whether the point is a Triton kernel's."""
    found = implementation(point)
    return found is not None and found.language == "triton"


def counters(point: Point, device: DeviceKind) -> int:
    """Step counters in the device's memory: none, one for all tensors (Triton), or one a tensor. PyTorch keeps those of steps that are not
    fused on the host."""
    if point.options["method"] in WITHOUT_COUNTER or (device == "cuda" and eager(point)):
        return 0
    return 1 if in_triton(point) else point.dims["tensors"]


def temporaries(point: Point) -> int:
    """Tensors of n parameters, of the state's precision, that an implementation holds at its peak besides the operands.

    torch.optim takes gradients in the weights' dtype, so with a master PyTorch also holds the gradients widened.
    """
    tensors = point.dims["tensors"]
    one_by_one, all_at_once = METHODS[point.options["method"]].temporaries(tensors)
    wide = tensors if has_master(point) and not in_triton(point) else 0
    return wide + {"one by one": one_by_one, "all at once": all_at_once, None: 0}[eager(point)]


def cost(point: Point, device: DeviceKind = "cuda") -> Cost:
    """FLOPs by METHODS. Compulsory bytes: gradient, state and weight read once, state and weight written once; with a master it is the
    master that is read, and both are written. AdamW in fp32 reads 16 and writes 12 bytes a parameter. Step counters, 4 bytes a tensor
    at most, count as memory, not as traffic. memory_bytes is that of the implementation; without fusion it moves more than the bytes.
    """
    method = point.options["method"]
    each, parameters = scheme(point), point.dims["tensors"] * point.dims["n"]
    state = OPTIMIZER_STATES[method] * each.state
    read = each.gradients + state + (each.master or each.weights)
    written = each.weights + state + each.master
    held = each.weights + each.gradients + state + each.master
    extra = temporaries(point) * point.dims["n"] * PRECISIONS[state_precision(point)].bytes + counters(point, device) * COUNTER_BYTES
    return Cost(METHODS[method].flops * parameters, int(read * parameters), int(written * parameters), int(held * parameters) + extra)


def operators(point: Point, parts: Sequence[Part]) -> int:
    """That PyTorch calls for a step: one by one they grow with the tensors. With a master, weights and gradients are cast besides."""
    one_by_one, all_at_once, fused = METHODS[point.options["method"]].operators(point.dims["tensors"])
    return {"one by one": one_by_one, "all at once": all_at_once, None: fused}[eager(point)] + (2 if has_master(point) else 0)


def unsupported(point: Point, platform: Platform) -> str | None:
    """What no implementation can do, or None."""
    if support.is_fp8(point.precision):
        return f"8 bits do not hold weights that are updated: {support.NO_FP8_ARITHMETIC}"
    if has_master(point) and point.precision == point.options["master"]:
        return "fp32 weights are their own master"
    return support.no_products(point.precision, "optimizers run in fp32")


def fused_unsupported(point: Point, platform: Platform) -> str | None:
    """Why a fused step cannot be asked for, or would be wrong; or None. What torch.optim refuses on the device at hand is found when it is
    built (torch_impl.refusal)."""
    if point.options["method"] == "rmsprop":
        return "torch.optim.RMSprop has no fused implementation"
    if point.options["method"] in ("sgd", "momentum") and state_precision(point) != "fp32" and platform.kind == "cpu":
        return "on CPUs PyTorch's fused SGD leaves 16-bit weights as they were (pytorch/pytorch issue 191763)"
    return unsupported(point, platform)


def triton_unsupported(point: Point, platform: Platform) -> str | None:
    """Why the Triton kernel cannot run the point, or None."""
    if point.options["method"] != "adamw":
        return "the Triton kernel is AdamW's"
    return unsupported(point, platform)


OP = Op.define(
    "kernels.optimizer",
    "optimizer",
    "Makes one optimizer step, by one of torch.optim's methods, over `tensors` tensors of n parameters each.",
    options=OPTIONS,
    dims_doc="tensors is how many tensors there are, n how many parameters each has.",
    dims=("tensors", "n"),
    cost=cost,
    small={"tensors": 3, "n": 1291},  # several tensors, each of several blocks, the last one ragged
    operators=operators,
    predicted_by_impl=True,
    many_launches=True,
    impls=(
        StepImpl("torch", "torch_impl:one_by_one", unsupported, eager="one by one"),
        StepImpl("torch_foreach", "torch_impl:foreach", unsupported, eager="all at once"),
        Impl("torch_fused", "torch_impl:fused", fused_unsupported),
        Impl("triton", "triton_impl:build", triton_unsupported, language="triton"),
    ),
)
