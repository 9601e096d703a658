"""The Transformer as formulas over an Arithmetic: what the fp64 reference evaluates, and what its roundings are drawn through.

Written apart from kernels/models/modules.py, operation by operation, so that a mistake there is not repeated here. `weights` are by name,
matrices as (out, in). `stored` stands where eager PyTorch keeps a tensor, so a kernel that fuses more rounds less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from kernels.models.config import NORM_EPS, ROPE_BASE, Transformer
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


def turned(a: Arithmetic, x: Tensor) -> Tensor:
    """Columns i and i + D/2 of x (B, heads, S, D) as real and imaginary part, times e^(i·s·base^(−2i/D)) at position s."""
    sequence, half = x.shape[-2], x.shape[-1] // 2
    angles = torch.arange(sequence, device=x.device)[:, None] / ROPE_BASE ** (torch.arange(half, dtype=x.dtype, device=x.device) / half)
    cos, sin = a.stored(torch.cos(angles)), a.stored(torch.sin(angles))
    real, imaginary = x.split(half, -1)
    return torch.cat((a.stored(a.stored(real * cos) - imaginary * sin), a.stored(a.stored(imaginary * cos) + real * sin)), -1)


def attention(a: Arithmetic, config: Transformer, x: Tensor, qkv: Tensor, out: Tensor) -> Tensor:
    """softmax(q·kᵀ/√D)·v of each head, position i seeing positions up to i; head h of q sees head h // group of k and v."""
    batch, sequence, hidden = x.shape
    sizes = (hidden, config.kv_width, config.kv_width)
    q, k, v = (t.unflatten(-1, (-1, config.depth)).transpose(1, 2) for t in linear(a, x, qkv).split(sizes, -1))
    if config.position == "rope":
        q, k = turned(a, q), turned(a, k)
    k, v = (t[:, torch.arange(config.heads, device=x.device) // config.group] for t in (k, v))
    scores = a.multiply(a.stored(q / math.sqrt(config.depth)), k.mT)
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
    x = a.gather(w["embedding.weight"], tokens)
    if config.position == "none":
        x = a.stored(x + w["positions.weight"][: tokens.shape[1]])
    for i in range(config.layers):
        x = block(a, config, x, w, f"blocks.{i}.")
    head = w["embedding.weight" if config.head == "tied" else "head.weight"]
    logits = linear(a, norm(a, config, x, w["norm.weight"]), head)
    wanted = logits.gather(-1, targets[..., None])[..., 0]
    return a.computed(a.computed(a.computed(torch.logsumexp(logits, -1)) - wanted).mean())
