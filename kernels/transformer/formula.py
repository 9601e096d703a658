"""The Transformer as formulas over an Arithmetic: what the fp64 reference evaluates, and what its roundings are drawn through.

Written apart from kernels/models/modules.py, operation by operation, so that a mistake there is not repeated here. `weights` are by name,
matrices as (out, in). `stored` stands where eager PyTorch keeps a tensor, so a kernel that fuses more rounds less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from kernels.models.config import NORM_EPS, Transformer
from kernels.rounding import Arithmetic

Weights = Mapping[str, Tensor]


def linear(a: Arithmetic, x: Tensor, weight: Tensor) -> Tensor:
    """x·Wᵀ over the last dim."""
    return a.multiply(x.flatten(0, -2), weight.mT).unflatten(0, x.shape[:-1])


def norm(a: Arithmetic, config: Transformer, x: Tensor, weight: Tensor) -> Tensor:
    """(x − mean)/√(variance + eps)·weight, or x/√(mean of squares + eps)·weight.

    CPUs keep LayerNorm's statistics in the precision, and add up its weight's gradient in it, token by token.
    """
    x = a.stored(x)  # its own gradient is stored before it is added to the residual's
    if config.norm == "layernorm":
        x = x - a.stored(x.mean(-1, keepdim=True))
        weight = a.gather(weight[None], torch.zeros(x.shape[:-1], dtype=torch.int64, device=x.device))
    deviation = a.stored(1 / torch.sqrt((x * x).mean(-1, keepdim=True) + NORM_EPS))
    return a.stored(x * deviation * weight)


def attention(a: Arithmetic, config: Transformer, x: Tensor, qkv: Tensor, out: Tensor) -> Tensor:
    """softmax(q·kᵀ/√D)·v of each head, position i seeing positions up to i."""
    batch, sequence, hidden = x.shape
    projected = linear(a, x, qkv)
    q, k, v = (t.unflatten(-1, (config.heads, -1)).transpose(1, 2) for t in projected.split(hidden, -1))
    scores = a.multiply(a.stored(q / math.sqrt(hidden // config.heads)), k.mT)
    later = torch.ones(sequence, sequence, dtype=torch.bool, device=x.device).triu(1)
    attended = a.attend(scores.masked_fill(later, -math.inf), v, config.attention == "sdpa")
    mixed = attended.transpose(1, 2).reshape(batch, sequence, hidden)
    return linear(a, mixed, out)


def mlp(a: Arithmetic, config: Transformer, x: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """down(gate·σ(gate)·up), or down of ½·x·(1 + erf(x/√2))."""
    inner = linear(a, x, up)
    if config.activation == "gelu":
        return linear(a, a.stored(inner * (1 + a.computed(torch.erf(inner / math.sqrt(2)))) / 2), down)
    gate, other = inner.split(config.feedforward, -1)
    return linear(a, a.stored(a.stored(gate / (1 + torch.exp(-gate))) * other), down)


def block(a: Arithmetic, config: Transformer, x: Tensor, w: Weights, prefix: str = "") -> Tensor:
    """x + attention(norm(x)), then x + mlp(norm(x))."""
    normed = norm(a, config, x, w[f"{prefix}attention_norm.weight"])
    x = a.stored(x + attention(a, config, normed, w[f"{prefix}attention.qkv.weight"], w[f"{prefix}attention.out.weight"]))
    normed = norm(a, config, x, w[f"{prefix}mlp_norm.weight"])
    return a.stored(x + mlp(a, config, normed, w[f"{prefix}mlp.up.weight"], w[f"{prefix}mlp.down.weight"]))


def loss(a: Arithmetic, config: Transformer, tokens: Tensor, targets: Tensor, w: Weights) -> Tensor:
    """Mean over tokens of log Σ exp(logits) − logit of the target, in fp32."""
    x = a.stored(a.gather(w["embedding.weight"], tokens) + w["positions.weight"][: tokens.shape[1]])
    for i in range(config.layers):
        x = block(a, config, x, w, f"blocks.{i}.")
    logits = linear(a, norm(a, config, x, w["norm.weight"]), w["head.weight"])
    wanted = logits.gather(-1, targets[..., None])[..., 0]
    return a.computed(a.computed(a.computed(torch.logsumexp(logits, -1)) - wanted).mean())
