"""AdamW in Triton: one kernel for all tensors, which reads weight, gradient and state once and writes weight and state once.

The step's number is a counter on the device, so that a CUDA graph of a step makes the next one at each replay. It is advanced by a
kernel of its own, as PyTorch's fused optimizers do: the blocks of one kernel have no order in which one of them could be last.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import triton
import triton.language as tl

from kernels.compilation import INTERPRETED, Compilation, describe
from kernels.elementwise.configs import Config
from kernels.op import Inputs, Kernel, Point
from kernels.optimizer.data import Group, Tensors, group, make_inputs
from kernels.optimizer.spec import BETA1, BETA2, EPS, LR, OP, STEPS_TAKEN, WEIGHT_DECAY

CONFIG = Config(1024, 4)  # 8 elements a thread: one 128-bit load of each 16-bit operand, two of each fp32 one


@triton.jit
def adamw_kernel(
    p: tl.tensor,  # (n,) what the step is made on: weights or their masters
    g: tl.tensor,  # (n,) gradient
    m: tl.tensor,  # (n,) mean of gradients
    v: tl.tensor,  # (n,) mean of squares
    w: tl.tensor,  # (n,) weights rounded from the masters, or None
    offsets: tl.tensor,  # (5, tensors) elements from the first tensor of p, g, m, v and w to each; None where there is one tensor
    step: tl.tensor,  # () number of this step, from 1
    n: tl.tensor,
    tensors: tl.tensor,
    blocks: tl.tensor,  # of each tensor
    lr: tl.tensor,
    beta1: tl.tensor,
    beta2: tl.tensor,
    eps: tl.tensor,
    decay: tl.tensor,
    BLOCK: tl.constexpr,
    LONG: tl.constexpr,
) -> None:
    """One AdamW step (Loshchilov and Hutter 2019) of all tensors, in place: p, m, v, and w where there are masters."""
    block = tl.program_id(0)
    if offsets is not None:
        row = offsets + block // blocks
        # Tensors are allocated at multiples of 64 bytes at least, which are multiples of 16 elements.
        p += tl.multiple_of(tl.load(row), 16)
        g += tl.multiple_of(tl.load(row + tensors), 16)
        m += tl.multiple_of(tl.load(row + 2 * tensors), 16)
        v += tl.multiple_of(tl.load(row + 3 * tensors), 16)
        if w is not None:
            w += tl.multiple_of(tl.load(row + 4 * tensors), 16)
        block %= blocks
    if LONG:
        block = block.to(tl.int64)
    i = block * BLOCK + tl.arange(0, BLOCK)
    inside = i < n

    t = tl.load(step)
    size = lr / (1.0 - tl.exp2(t * tl.log2(beta1)))
    scale = 1.0 / tl.sqrt(1.0 - tl.exp2(t * tl.log2(beta2)))

    gradient = tl.load(g + i, mask=inside, other=0.0).to(tl.float32)
    mean = tl.load(m + i, mask=inside, other=0.0).to(tl.float32)
    square = tl.load(v + i, mask=inside, other=0.0).to(tl.float32)
    weight = tl.load(p + i, mask=inside, other=0.0).to(tl.float32)
    mean = beta1 * mean + (1.0 - beta1) * gradient
    square = beta2 * square + (1.0 - beta2) * gradient * gradient
    weight = (1.0 - lr * decay) * weight - size * mean / (tl.sqrt(square) * scale + eps)
    tl.store(m + i, mean.to(m.dtype.element_ty), mask=inside)
    tl.store(v + i, square.to(v.dtype.element_ty), mask=inside)
    tl.store(p + i, weight.to(p.dtype.element_ty), mask=inside)
    if w is not None:
        tl.store(w + i, weight.to(w.dtype.element_ty), mask=inside)


def build(point: Point, inputs: Inputs) -> Kernel:
    """One step in place; the shapes are those of the tensors."""
    found = group(point, inputs.operands)
    step = torch.full((), float(STEPS_TAKEN), device=found.weights[0].device)
    # The interpreter truncates to bf16 instead of rounding: there the kernel updates fp32 copies, and torch rounds.
    rounds = INTERPRETED and torch.bfloat16 in {t.dtype for t in found.updated}
    target = in_fp32(found) if rounds else found
    tensors, settings = call(target, step)
    launch = adamw_kernel[(len(found.weights) * tensors["blocks"],)]

    def run() -> Tensors:
        if rounds:
            torch._foreach_copy_(list(target.updated), list(found.updated))
        step.add_(1)
        launch(**tensors, **settings, num_warps=CONFIG.warps)
        if rounds:
            torch._foreach_copy_(list(found.updated), list(target.updated))
        return inputs.out

    def reset() -> None:
        step.fill_(STEPS_TAKEN)

    return Kernel(run, str(CONFIG), reset=reset)


def in_fp32(found: Group) -> Group:
    """Buffers for what is updated; the gradients are only read."""
    weights, masters = (tuple(torch.empty_like(t, dtype=torch.float32) for t in kind) for kind in (found.weights, found.masters))
    state = tuple(tuple(torch.empty_like(t, dtype=torch.float32) for t in kind) for kind in found.state)
    return Group(weights, found.gradients, state, masters)


def call(found: Group, step: torch.Tensor) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments and compile-time arguments of `adamw_kernel`."""
    made_on = found.masters or found.weights
    kinds = {"p": made_on, "g": found.gradients, "m": found.state[0], "v": found.state[1], "w": found.weights if found.masters else None}
    first = {name: kind and kind[0] for name, kind in kinds.items()}
    n, count = made_on[0].numel(), len(made_on)
    table = [[(t.data_ptr() - kind[0].data_ptr()) // t.element_size() for t in kind] for kind in kinds.values() if kind]
    offsets = torch.tensor(table, device=made_on[0].device) if count > 1 else None
    scalars = {"lr": LR, "beta1": BETA1, "beta2": BETA2, "eps": EPS, "decay": WEIGHT_DECAY}
    sizes = {"n": n, "tensors": count, "blocks": math.ceil(n / CONFIG.block)}
    settings = {"BLOCK": CONFIG.block, "LONG": n + CONFIG.block > 2**31}
    return {**first, "offsets": offsets, "step": step, **sizes, **scalars}, settings


ALIGNED = {"one": {"tensors": 1, "n": 2**20}, "many": {"tensors": 4, "n": 2**20}}
RAGGED = {"ragged_one": {"tensors": 1, "n": 1291}, "ragged_many": {"tensors": 3, "n": 1291}}
STORED = (("fp32", "none"), ("fp16", "none"), ("bf16", "none"), ("fp16", "fp32"), ("bf16", "fp32"))


def compilations() -> Iterator[Compilation]:
    """Every precision with and without masters, for one tensor and several, aligned and ragged."""
    for precision, master in STORED:
        for variant, dims in (ALIGNED | RAGGED).items():
            point = OP.point("triton", precision, dims, {"method": "adamw", "master": master})
            found = group(point, make_inputs(point, "meta", None).operands)
            tensors, settings = call(found, torch.empty((), device="meta"))
            name, wide = variant if master == "none" else f"{variant}_master", variant in ALIGNED
            yield describe(
                adamw_kernel, tensors, settings, OP.name, precision, name, str(CONFIG), CONFIG.warps, 1, "wide" if wide else "any"
            )
