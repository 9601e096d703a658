"""Operands, fp64 reference and tolerance of an optimizer step.

Operands are tensors (n,): the weights, then the gradients, then each value of the state, then the masters, `tensors` of each. What is
updated, and the result: the same without the gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from kernels import tolerances
from kernels.op import Inputs, Point
from kernels.optimizer.rules import RULES, Rule
from kernels.optimizer.spec import BETA1, BETA2, STEPS_TAKEN, eager, has_master, state_precision
from kernels.parameter_copies import OPTIMIZER_STATES
from kernels.precisions import PRECISIONS
from kernels.running_error import Rounded
from kernels.tensors import Maker, dtype_of

Tensors = tuple[torch.Tensor, ...]
SQUARES = ("adagrad", "rmsprop", "adam", "adamw")  # whose last state is a sum or mean of squares
LEAST_SQUARE = 0.0625  # so that no division depends on ε alone, nor on fp16's subnormals
STEP_UNIT = 4 * tolerances.U32  # of fp32: roots and divisions off by 2 ulp (CUDA programming guide, table of errors), rounded constants
# Elements whose error is followed at once: what operations pass to one another stays in a CPU's cache, and takes little GPU memory.
PIECE, PIECE_ON_CPU = 2**24, 2**15


@dataclass(frozen=True)
class Group:
    """The tensors of a point by what they are, `tensors` of each. `masters` is empty without them."""

    weights: Tensors
    gradients: Tensors
    state: tuple[Tensors, ...]  # for each value kept a parameter
    masters: Tensors

    @property
    def updated(self) -> Tensors:
        return (*self.weights, *(t for kind in self.state for t in kind), *self.masters)


def group(point: Point, operands: Tensors) -> Group:
    """Operands by what they are; there are as many tensors of each kind as `operands` say, whatever the point's dims."""
    states = OPTIMIZER_STATES[point.options["method"]]
    count = len(operands) // (2 + states + has_master(point))
    weights, gradients, *others = (operands[i : i + count] for i in range(0, len(operands), count))
    return Group(weights, gradients, tuple(others[:states]), others[states] if has_master(point) else ())


def make_inputs(point: Point, device: str | torch.device, seed: int | None) -> Inputs:
    """Weights, gradients and state as in the middle of training; weights are their masters rounded. Mean squares at least 1/16."""
    method, shape = point.options["method"], (point.dims["n"],)
    count, wide = range(point.dims["tensors"]), state_precision(point)
    maker = Maker(point.options["data"], device, seed)
    masters = tuple(maker.tensor(shape, wide) for _ in count)
    weights = tuple(t.to(dtype_of(point.precision)) for t in masters) if has_master(point) else masters
    gradients = tuple(maker.tensor(shape, point.precision) for _ in count)
    state = [tuple(maker.tensor(shape, wide) for _ in count) for _ in range(OPTIMIZER_STATES[method])]
    if method in SQUARES and not maker.valueless:
        for t in state[-1]:
            t.abs_().mul_(0.5).add_(LEAST_SQUARE)
    made = Group(weights, gradients, tuple(state), masters if has_master(point) else ())
    return Inputs((*weights, *gradients, *(t for kind in state for t in kind), *made.masters), made.updated, made.updated)


def _each(found: Group) -> Iterator[tuple[torch.Tensor, torch.Tensor, Tensors]]:
    """For each tensor: what the step is made on, the gradient, the state."""
    for i, weight in enumerate(found.masters or found.weights):
        yield weight, found.gradients[i], tuple(kind[i] for kind in found.state)


def corrections() -> tuple[float, float]:
    """1 − β₁ᵗ and 1 − β₂ᵗ of the step that is checked."""
    step = STEPS_TAKEN + 1
    return 1 - BETA1**step, 1 - BETA2**step


def _in_order(point: Point, steps: list[tuple[torch.Tensor, Tensors]]) -> Tensors:
    """New weights and states of each tensor, in the order of `Inputs.updated`."""
    weights = tuple(p for p, _ in steps)
    state = tuple(t for kind in zip(*(s for _, s in steps), strict=True) for t in kind)
    return (*weights, *state, *(weights if has_master(point) else ()))


def reference(point: Point, operands: Tensors) -> Tensors:
    """The updated tensors in fp64; with masters, the weights are they."""
    return stepped(point, operands, RULES[point.options["method"]], corrections())


def stepped(point: Point, operands: Tensors, rule: Rule, bias: tuple[float, float]) -> Tensors:
    """The same by any rule and with any corrections of the bias."""
    each = _each(group(point, operands))
    return _in_order(point, [rule(p.double(), g.double(), tuple(t.double() for t in s), bias) for p, g, s in each])


def tolerance(point: Point, operands: Tensors, expected: Tensors) -> Tensors:
    """The rule's running error, and one rounding of what is stored of it: ½ ulp of its format."""
    steps = [_errors(point, *each) for each in _each(group(point, operands))]
    stored = [point.precision] * len(steps) + [state_precision(point)] * (len(expected) - len(steps))
    errors = _in_order(point, steps)
    return tuple(e + tolerances.rounding(y.abs() + e, precision) for e, y, precision in zip(errors, expected, stored, strict=True))


def _errors(point: Point, weight: torch.Tensor, gradient: torch.Tensor, state: Tensors) -> tuple[torch.Tensor, Tensors]:
    """Errors of the new weight and state before these are stored. In fp32, or rounded after every operation where each is a kernel of
    its own; in 1 − βᵗ the power is off by up to two roundings."""
    rule, wide, rounded = RULES[point.options["method"]], PRECISIONS[state_precision(point)], eager(point) is not None
    unit = max(STEP_UNIT, wide.unit_roundoff) if rounded else STEP_UNIT
    tiny = wide.smallest_subnormal if rounded else PRECISIONS["fp32"].smallest_subnormal
    first, second = (Rounded(v, 2 * STEP_UNIT * (1 - v), unit, tiny) for v in weight.new_tensor(corrections(), dtype=torch.float64))
    piece, found = PIECE_ON_CPU if weight.device.type == "cpu" else PIECE, []
    for pieces in zip(*(t.split(piece) for t in (weight, gradient, *state)), strict=True):
        p, g, *s = (Rounded(t.double(), t.new_zeros((), dtype=torch.float64), unit, tiny) for t in pieces)
        moved, new = rule(p, g, tuple(s), (first, second))
        found.append((moved.error, *(t.error for t in new)))
    error, *errors = (torch.cat(kind) for kind in zip(*found, strict=True))
    return error, tuple(errors)
