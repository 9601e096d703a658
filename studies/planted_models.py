"""Errors that gradients and Transformers really have: a term of the formula left out, one gradient missing or stale."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from unittest.mock import patch

import torch
from torch import Tensor

from kernels import gradient, transformer
from kernels.gradient.data import evaluate as chain_rule
from kernels.models.config import Transformer
from kernels.op import Inputs, Point
from kernels.rounding import EXACT, Arithmetic
from kernels.transformer import formula
from kernels.transformer.data import evaluate, widened
from studies.planted_case import Case, rounded

Tensors = tuple[Tensor, ...]


def with_formula(name: str, faulty: Callable[..., Tensor]) -> Callable[[Point, Inputs, Tensors], Tensors]:
    """The results, forwards and backwards, where `faulty` stands for one function of kernels/transformer/formula.py."""

    def spoil(point: Point, inputs: Inputs, right: Tensors) -> Tensors:
        with patch.object(formula, name, faulty):
            return rounded(inputs, evaluate(point, widened(inputs.operands), EXACT))

    return spoil


def without_eps(a: Arithmetic, config: Transformer, x: Tensor, weight: Tensor) -> Tensor:
    with patch.object(formula, "NORM_EPS", 0.0):
        return norm(a, config, x, weight)


def without_weight(a: Arithmetic, config: Transformer, x: Tensor, weight: Tensor) -> Tensor:
    return norm(a, config, x, torch.ones_like(weight) + 0 * weight)


def without_mean(a: Arithmetic, config: Transformer, x: Tensor, weight: Tensor) -> Tensor:
    """RMSNorm where LayerNorm was asked for, and the other way round."""
    return norm(a, replace(config, norm="rmsnorm" if config.norm == "layernorm" else "layernorm"), x, weight)


def without_scale(a: Arithmetic, config: Transformer, x: Tensor, qkv: Tensor, out: Tensor) -> Tensor:
    """Scores that are not divided by √D: q's rows are that much larger."""
    larger = qkv * torch.where(torch.arange(len(qkv)) < config.hidden, math.sqrt(config.hidden // config.heads), 1.0)[:, None]
    return attention(a, config, x, larger, out)


def not_causal(a: Arithmetic, config: Transformer, x: Tensor, qkv: Tensor, out: Tensor) -> Tensor:
    """Every position sees all."""
    with patch.object(torch, "ones", torch.zeros):
        return attention(a, config, x, qkv, out)


def sees_one_ahead(a: Arithmetic, config: Transformer, x: Tensor, qkv: Tensor, out: Tensor) -> Tensor:
    """The mask begins one diagonal late."""
    triu = Tensor.triu
    with patch.object(Tensor, "triu", lambda mask, diagonal: triu(mask, diagonal + 1)):
        return attention(a, config, x, qkv, out)


def other_group(a: Arithmetic, config: Transformer, x: Tensor, qkv: Tensor, out: Tensor) -> Tensor:
    """Heads of q take those of k and v in turn, not group by group."""
    order = torch.arange(config.heads).view(config.group, -1).T.flatten()  # the head of q that stands in each place
    columns = (order[:, None] * config.depth + torch.arange(config.depth)).flatten()
    return attention(a, config, x, torch.cat((qkv[columns], qkv[config.hidden :])), out[:, columns])


def turned_back(a: Arithmetic, x: Tensor) -> Tensor:
    """Positions counted from the end, whose distances have the other sign."""
    return turned(a, x.flip(-2)).flip(-2)


def not_turned(a: Arithmetic, x: Tensor) -> Tensor:
    """q and k stay as they are."""
    return x


def other_activation(a: Arithmetic, config: Transformer, x: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """ReLU for the sigmoid-weighted or Gaussian one."""
    inner = formula.linear(a, x, up)
    gate, other = inner.split(config.feedforward, -1) if config.activation == "swiglu" else (inner, 1.0)
    return formula.linear(a, gate.relu() * other, down)


def swapped_gate(a: Arithmetic, config: Transformer, x: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """silu of the second half times the first."""
    return mlp(a, config, x, torch.cat(up.chunk(2)[::-1]) if config.activation == "swiglu" else -up, down)


def without_residual(a: Arithmetic, config: Transformer, x: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """The MLP's residual is not added: as if its output were less by its input's norm."""
    return mlp(a, config, x, up, down) - x


norm, attention, mlp, turned = formula.norm, formula.attention, formula.mlp, formula.turned
FORMULAS: dict[str, tuple[Callable[..., Tensor], ...]] = {
    "norm": (without_eps, without_weight, without_mean),
    "attention": (without_scale, not_causal, sees_one_ahead),
    "mlp": (other_activation, swapped_gate, without_residual),
}
LLAMA: dict[str, tuple[Callable[..., Tensor], ...]] = {  # where heads are shared and rotated
    "attention": (other_group,),
    "turned": (turned_back, not_turned),
}


def missing_gradient(point: Point, inputs: Inputs, right: Tensors) -> Tensors:
    """The last weight's was never computed, and stayed zero."""
    return (*right[:-1], torch.zeros_like(right[-1]))


def accumulated_gradient(point: Point, inputs: Inputs, right: Tensors) -> Tensors:
    """Gradients of the step before were not cleared: twice what they should be."""
    return (*right[:-1], right[-1] * 2)


def stale_gradient(point: Point, inputs: Inputs, right: Tensors) -> Tensors:
    """Of other data: the first operand's rows are one further."""
    operands = [t.double() for t in inputs.operands]
    operands[0] = operands[0].roll(1, 0)
    return (*right[:-1], rounded(inputs, chain_rule(point, operands, EXACT))[-1])


def transposed_product(point: Point, inputs: Inputs, right: Tensors) -> Tensors:
    """The first weight's gradient is that of its transpose, as where the operands of a product are swapped."""
    first = len(right) - len(gradient.spec.weight_shapes(point))
    return (*right[:first], right[first].T.contiguous(), *right[first + 1 :])


def cases() -> Iterator[Case]:
    """Every precision; both norms, activation functions and attentions among them."""
    for precision in ("fp32", "tf32", "fp16", "bf16"):
        for dims, model in (
            ({"tokens": 61, "inputs": 37, "outputs": 37}, "matmul"),
            ({"tokens": 61, "width": 37, "layers": 3}, "deep_linear"),
        ):
            point = gradient.OP.point("torch", precision, dims, {"model": model, "pass": "both"})
            yield from (Case(point, e.__name__, e) for e in (missing_gradient, accumulated_gradient, stale_gradient, transposed_product))
        block = {"batch": 2, "sequence": 17, "hidden": 28, "heads": 4, "feedforward": 41}
        whole = {**block, "layers": 2, "vocab": 53}
        for i, (name, faulty) in enumerate((name, f) for name, errors in FORMULAS.items() for f in errors):
            kinds = {
                "norm": ("rmsnorm", "layernorm")[i % 2],
                "activation": ("gelu", "swiglu")[i % 2],
                "attention": ("sdpa", "plain")[i % 2],
            }
            for scope, which in product(("block", "model"), ("both", "backward", "forward")):
                if scope == "model" and (which == "forward" or faulty is without_eps):
                    continue  # a loss alone shows large mistakes only; and embeddings are far from eps
                point = transformer.OP.point(
                    "torch", precision, block if scope == "block" else whole, {"scope": scope, "pass": which, **kinds}
                )
                yield Case(point, faulty.__name__, with_formula(name, faulty))
        for name, faulty in ((name, f) for name, errors in LLAMA.items() for f in errors):
            shared = {**block, "kv_heads": 2, "hidden": 32}
            point = transformer.OP.point("torch", precision, shared, {"scope": "block", "pass": "both", "position": "rope"})
            yield Case(point, faulty.__name__, with_formula(name, faulty))
        point = transformer.OP.point("torch", precision, whole, {"scope": "model", "pass": "both"})
        yield from (Case(point, e.__name__, e) for e in (missing_gradient, accumulated_gradient))
