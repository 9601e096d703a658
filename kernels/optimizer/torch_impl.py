"""torch.optim's optimizers as they are used, over parameters that hold the point's tensors: one tensor after the other, foreach, fused.

With fp32 masters the optimizer holds the masters; a step also widens the gradients before and rounds the masters to the weights after,
each for all tensors at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from kernels.op import Inputs, Kernel, Point, Unsupported
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
NOT_A_REFUSAL = (torch.OutOfMemoryError, torch.AcceleratorError)  # RuntimeErrors of the device, whatever was asked of it


def one_by_one(point: Point, inputs: Inputs) -> Kernel:
    """A handful of ATen kernels for each tensor."""
    return build(point, inputs, "foreach", False)


def foreach(point: Point, inputs: Inputs) -> Kernel:
    """Each operation over all tensors at once, in as few kernels as their addresses fit: the default on CUDA."""
    return build(point, inputs, "foreach", True)


def fused(point: Point, inputs: Inputs) -> Kernel:
    """The whole rule over all tensors in one kernel, or as few as their addresses fit."""
    return build(point, inputs, "fused", True)


def make(method: str, parameters: list[torch.nn.Parameter], how: str, value: bool) -> torch.optim.Optimizer:
    """The optimizer. A fused one keeps its counters beside the weights, so that a CUDA graph can hold its step, once `capturable` allows
    it; nothing else depends on that there. Elsewhere `capturable` would move the counters to the device, and with them arithmetic that
    users have on the host: it stays off."""
    kind, settings = OPTIMIZERS[method]
    asked: dict[str, Any] = {how: value}
    if how == "fused" and parameters[0].device.type == "cuda" and "capturable" in inspect.signature(kind).parameters:
        asked["capturable"] = True
    return kind(parameters, lr=LR, **settings, **asked)


@cache
def refusal(method: str, how: str, value: bool, dtype: torch.dtype, device: torch.device) -> str | None:
    """Why this PyTorch cannot make the step on such tensors, or None. A step of one element asks, since torch.optim checks devices and
    dtypes no earlier than in the first step."""
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=dtype, device=device))
    parameter.grad = torch.zeros_like(parameter)
    try:
        make(method, [parameter], how, value).step()
    except RuntimeError as e:
        if isinstance(e, NOT_A_REFUSAL):
            raise
        return f"PyTorch refuses it: {str(e).splitlines()[0]}"
    return None


def build(point: Point, inputs: Inputs, how: str, value: bool) -> Kernel:
    """`optimizer.step()` with the state in the point's tensors. Counters lie where PyTorch keeps them: beside the weights where fused,
    else on the host. Raises Unsupported."""
    method = point.options["method"]
    found = group(point, inputs.operands)
    parameters = [torch.nn.Parameter(t) for t in found.masters or found.weights]
    refused = refusal(method, how, value, parameters[0].dtype, parameters[0].device)
    if refused:
        raise Unsupported(refused)
    wide = [torch.empty_like(p, requires_grad=False) for p in parameters] if found.masters else list(found.gradients)
    for parameter, gradient in zip(parameters, wide, strict=True):
        parameter.grad = gradient
    optimizer = make(method, parameters, how, value)
    counters = []
    for i, parameter in enumerate(parameters):
        state: dict[str, torch.Tensor] = {name: kind[i] for name, kind in zip(STATE_NAMES[method], found.state, strict=True)}
        if method not in WITHOUT_COUNTER:
            device = parameter.device if how == "fused" else "cpu"
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

    # PyTorch stops a capture of those that have the setting and have it off: they read their counters on the host. SGD has no counter,
    # and Adagrad's changes nothing as long as the learning rate does not decay.
    capturable = all(settings.get("capturable", True) for settings in optimizer.param_groups)
    return Kernel(run, reset=reset, capturable=capturable)
