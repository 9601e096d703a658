"""Errors that optimizer kernels really have: a term left out, two constants swapped, something not stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import torch

from kernels.op import Inputs, Point
from kernels.optimizer import data, rules
from kernels.optimizer.data import group
from kernels.optimizer.spec import BETA1, BETA2, EPS, LR, OP, WEIGHT_DECAY
from studies.planted_case import Case, recomputed, rounded

Tensors = tuple[torch.Tensor, ...]


def stepped(point: Point, inputs: Inputs, rule: rules.Rule, bias: tuple[float, float] | None = None) -> Tensors:
    """What a kernel with another rule or other corrections of the bias makes of the operands."""
    return rounded(inputs, data.stepped(point, inputs.operands, rule, bias or data.corrections()))


def own_rule(point: Point) -> rules.Rule:
    return rules.RULES[point.options["method"]]


def no_bias_correction(point: Point, inputs: Inputs, right: Tensors) -> Tensors:
    return stepped(point, inputs, own_rule(point), (1.0, 1.0))


def counter_not_advanced(point: Point, inputs: Inputs, right: Tensors) -> Tensors:
    """Bias correction of the step before."""
    return stepped(point, inputs, own_rule(point), (1 - BETA1, 1 - BETA2))


def coupled_decay(point: Point, inputs: Inputs, right: Tensors) -> Tensors:
    """Weight decay as an L2 term of the gradient: Adam where AdamW was asked for."""
    return stepped(point, inputs, lambda p, g, state, bias: rules.adam(p, g + WEIGHT_DECAY * p, state, bias))


def no_decay(point: Point, inputs: Inputs, right: Tensors) -> Tensors:
    return stepped(point, inputs, rules.adam)


def swapped_betas(point: Point, inputs: Inputs, right: Tensors) -> Tensors:
    with patch.object(rules, "BETA1", BETA2), patch.object(rules, "BETA2", BETA1):
        return stepped(point, inputs, own_rule(point))


def eps_inside_the_root(point: Point, inputs: Inputs, right: Tensors) -> Tensors:
    """√(v + ε) for √v + ε."""
    rule = own_rule(point)

    def divided(p: torch.Tensor, g: torch.Tensor, state: Tensors, bias: tuple[float, float]) -> tuple[torch.Tensor, Tensors]:
        moved, new = rule(p, g, state, bias)
        square = new[-1] / bias[1] if "adam" in point.options["method"] else new[-1]
        start = p * (1 - LR * WEIGHT_DECAY) if point.options["method"] == "adamw" else p
        return start + (moved - start) * (square.sqrt() + EPS) / (square + EPS).sqrt(), new

    return stepped(point, inputs, divided)


def stale_state(point: Point, inputs: Inputs, right: Tensors) -> Tensors:
    """The last kind of state stays as it was."""
    kind = group(point, inputs.operands).state[-1]
    start = len(kind) * len(group(point, inputs.operands).state)
    return (*right[:start], *(t.clone() for t in kind), *right[start + len(kind) :])


def unwritten_end(point: Point, inputs: Inputs, right: Tensors) -> Tensors:
    """The ragged end of the last tensor of each kind stays as it was: a mask rounded down to whole vectors."""
    spoiled = tuple(t.clone() for t in right)
    for new, old in zip(spoiled, inputs.updated, strict=True):
        new[-3:] = old[-3:]
    return spoiled


def first_tensor_everywhere(point: Point, inputs: Inputs, right: Tensors) -> Tensors:
    """Each tensor's gradient is taken for the first one's: an offset that is not applied."""
    found = group(point, inputs.operands)
    gradients = found.gradients[:1] * len(found.gradients)
    return recomputed(point, inputs, (*found.weights, *gradients, *inputs.operands[2 * len(gradients) :]))


def masters_not_copied(point: Point, inputs: Inputs, right: Tensors) -> Tensors:
    """The masters move and the weights stay as they were."""
    weights = group(point, inputs.operands).weights
    return (*(t.clone() for t in weights), *right[len(weights) :])


def gradient_added(point: Point, inputs: Inputs, right: Tensors) -> Tensors:
    """Ascent: the weight moves the other way."""
    starts = group(point, inputs.operands)
    made_on = starts.masters or starts.weights
    moved = data.reference(point, inputs.operands)
    count = len(made_on)
    back = [2 * old.double() - new for old, new in zip(made_on, moved[:count], strict=True)]
    return rounded(inputs, (*back, *moved[count : len(moved) - len(starts.masters)], *(back if starts.masters else ())))


ANY = (unwritten_end, first_tensor_everywhere, gradient_added)
ADAMS = (no_bias_correction, counter_not_advanced, swapped_betas)


def errors(point: Point) -> Iterator[Callable[[Point, Inputs, Any], Any]]:
    """Those that this point can have."""
    method = point.options["method"]
    yield from ANY
    if method != "sgd":
        yield stale_state
    if method not in ("sgd", "momentum"):
        yield eps_inside_the_root
    if method in ("adam", "adamw"):
        yield from ADAMS
    if method == "adamw":
        yield from (coupled_decay, no_decay)
    if point.options["master"] != "none":
        yield masters_not_copied


def cases() -> Iterator[Case]:
    """AdamW as one kernel and as many, in every storage; the other methods as PyTorch runs them by default."""
    for precision in ("fp32", "fp16", "bf16"):
        for master in ("none", "fp32") if precision != "fp32" else ("none",):
            kinds = [("triton", "adamw"), *(("torch_foreach", method) for method in rules.RULES)]
            for impl, method in kinds:
                point = OP.point(impl, precision, {"tensors": 2, "n": 509}, {"method": method, "master": master})
                yield from (Case(point, spoil.__name__, spoil) for spoil in errors(point))
