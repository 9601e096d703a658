"""torch.optim's optimizers as they are used, over parameters that hold the point's tensors: one tensor after the other, foreach, fused.

With fp32 masters the optimizer holds the masters; a step also widens the gradients before and rounds the masters to the weights after,
each for all tensors at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from kernels.op import Inputs, Kernel, Point
from kernels.optimizer.data import group
from kernels.optimizer.spec import ALPHA, BETA1, BETA2, EPS, LR, MOMENTUM, STEPS_TAKEN, WEIGHT_DECAY, WITHOUT_COUNTER

optim = torch.optim

OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": (optim.SGD, {}),
    "momentum": (optim.SGD, {"momentum": MOMENTUM}),
    "adagrad": (optim.Adagrad, {"eps": EPS}),
    "rmsprop": (optim.RMSprop, {"alpha": ALPHA, "eps": EPS}),
    "adam": (optim.Adam, {"betas": (BETA1, BETA2), "eps": EPS}),
    "adamw": (optim.AdamW, {"betas": (BETA1, BETA2), "eps": EPS, "weight_decay": WEIGHT_DECAY}),
}
STATE_NAMES = {
    "sgd": (),
    "momentum": ("momentum_buffer",),
    "adagrad": ("sum",),
    "rmsprop": ("square_avg",),
    "adam": ("exp_avg", "exp_avg_sq"),
    "adamw": ("exp_avg", "exp_avg_sq"),
}


def one_by_one(point: Point, inputs: Inputs) -> Kernel:
    """A handful of ATen kernels for each tensor."""
    return build(point, inputs, {"foreach": False})


def foreach(point: Point, inputs: Inputs) -> Kernel:
    """Each operation over all tensors at once, in as few kernels as their addresses fit: the default on CUDA."""
    return build(point, inputs, {"foreach": True})


def fused(point: Point, inputs: Inputs) -> Kernel:
    """The whole rule over all tensors in one kernel, or as few as their addresses fit."""
    return build(point, inputs, {"fused": True})


def build(point: Point, inputs: Inputs, how: dict[str, bool]) -> Kernel:
    """`optimizer.step()` with the state in the point's tensors. Counters lie where PyTorch keeps them: beside the weights where fused,
    else on the host."""
    method = point.options["method"]
    found = group(point, inputs.operands)
    parameters = [torch.nn.Parameter(t) for t in found.masters or found.weights]
    wide = [torch.empty_like(p, requires_grad=False) for p in parameters] if found.masters else list(found.gradients)
    for parameter, gradient in zip(parameters, wide, strict=True):
        parameter.grad = gradient
    make, settings = OPTIMIZERS[method]
    optimizer = make(parameters, lr=LR, **settings, **how)
    counters = []
    for i, parameter in enumerate(parameters):
        state: dict[str, torch.Tensor] = {name: kind[i] for name, kind in zip(STATE_NAMES[method], found.state, strict=True)}
        if method not in WITHOUT_COUNTER:
            device = parameter.device if how.get("fused") else "cpu"
            state["step"] = torch.full((), float(STEPS_TAKEN), dtype=torch.float32, device=device)
            counters.append(state["step"])
        optimizer.state[parameter] = state

    def run() -> tuple[torch.Tensor, ...]:
        if found.masters:
            torch._foreach_copy_(wide, list(found.gradients))
        optimizer.step()
        if found.masters:
            torch._foreach_copy_(list(found.weights), list(found.masters))
        return inputs.out

    def reset() -> None:
        for counter in counters:
            counter.fill_(STEPS_TAKEN)

    return Kernel(run, reset=reset)
