"""The models of kernels/models/config.py in plain PyTorch.

Shapes: B batch, S sequence, H hidden, A heads, K heads of k and v, D = H / A, F feedforward.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from kernels.models.config import NORM_EPS, ROPE_BASE, DeepLinear, Transformer

TRUNCATION = 3.0  # standard deviations beyond which no weight is drawn
Rotation = tuple[Tensor, Tensor]  # cos and sin, each (S, D)


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Without bias, as in Llama."""
    return nn.Linear(inputs, outputs, bias=False)


def norm(config: Transformer) -> nn.Module:
    """RMSNorm, or LayerNorm without bias."""
    if config.norm == "rmsnorm":
        return nn.RMSNorm(config.hidden, NORM_EPS)
    return nn.LayerNorm(config.hidden, NORM_EPS, bias=False)


class DeepLinearModel(nn.Module):
    """(tokens, width) → (tokens, 1)."""

    def __init__(self, config: DeepLinear):
        super().__init__()
        self.layers = nn.ModuleList(linear(config.width, config.width) for _ in range(config.layers))
        self.head = linear(config.width, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def rotation_of(x: Tensor, depth: int) -> Rotation:
    """cos and sin (S, D) of the angles by which rope turns the heads of a product of x (B, S, H), in the product's dtype.

    The angle of column i of D/2 at position s is s / ROPE_BASE^(2i/D), in fp64: in fp32 that of position 8192 is off by 0.0005. The first
    half of the columns of sin has its sign reversed, as `rotated` needs it.
    """
    dtype = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype
    frequencies = torch.logspace(0, 2 / depth - 1, depth // 2, ROPE_BASE, dtype=torch.float64, device=x.device)
    positions = torch.arange(x.shape[1], dtype=torch.float64, device=x.device)
    angles = torch.addr(positions.new_empty(()), positions, torch.cat((frequencies.neg(), frequencies)), beta=0)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotated(x: Tensor, rotation: Rotation) -> Tensor:
    """Each column i and i + D/2 of x (B, heads, S, D), as a complex number, times e^(i·angle): what Hugging Face's Llama pairs."""
    cos, sin = rotation
    return (x * cos).addcmul_(torch.cat(x.chunk(2, -1)[::-1], -1), sin)


class Attention(nn.Module):
    """Causal self-attention, (B, S, H) → (B, S, H). `checkpoint`: keep q, k and v only, and attend again in backward."""

    def __init__(self, config: Transformer):
        super().__init__()
        self.checkpoint = False
        self.heads, self.kv_heads = config.heads, config.key_heads
        self.attend = attend_fused if config.attention == "sdpa" else attend_plain
        self.qkv = linear(config.hidden, config.qkv)
        self.out = linear(config.hidden, config.hidden)

    def forward(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:
        attend = partial(recomputed, self.attend) if self.checkpoint else self.attend
        q, k, v = self.projected(x, rotation)
        return self.out(attend(q, k, v).transpose(1, 2).reshape(x.shape))  # nothing else holds the result: it is released before `out`

    def projected(self, x: Tensor, rotation: Rotation | None) -> tuple[Tensor, ...]:
        """q (B, A, S, D), k and v (B, K, S, D)."""
        heads = self.qkv(x).unflatten(-1, (self.heads + 2 * self.kv_heads, -1)).transpose(1, 2)
        if rotation is None:
            return heads.split((self.heads, self.kv_heads, self.kv_heads), 1)
        turned, v = heads.split((self.heads + self.kv_heads, self.kv_heads), 1)
        return (*rotated(turned, rotation).split((self.heads, self.kv_heads), 1), v)


def recomputed(function: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """The result of `function`, of which nothing is kept: backward calls it again."""
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)


def for_each_head(q: Tensor, shared: Tensor) -> Tensor:
    """k or v (B, K, S, D) with a head for each of q's; a copy where they are fewer."""
    group = q.shape[1] // shared.shape[1]
    return shared if group == 1 else shared.repeat_interleave(group, 1)


def attend_fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q·kᵀ/√D)·v where no position sees a later one, (B, A, S, D).

    On CUDA PyTorch's fused kernels share k and v among heads in 16 bits only; in fp32 it would keep scores, so k and v are copied.
    """
    if q.element_size() > 2:
        return F.scaled_dot_product_attention(q, for_each_head(q, k), for_each_head(q, v), is_causal=True)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=q.shape[1] != k.shape[1])


def attend_plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same, with scores and probabilities (B, A, S, S) in memory."""
    k, v = for_each_head(q, k), for_each_head(q, v)
    size = q.shape[-2]
    later = torch.full((size, size), -math.inf, dtype=q.dtype, device=q.device).triu_(1)
    scores = q / math.sqrt(q.shape[-1]) @ k.mT
    return scores.add_(later).softmax(-1) @ v


class Mlp(nn.Module):
    """(B, S, H) → (B, S, H) through F: down(silu(gate(x)) · up(x)), gate and up in one product, or down(gelu(up(x)))."""

    def __init__(self, config: Transformer):
        super().__init__()
        self.gated = config.activation == "swiglu"
        self.up = linear(config.hidden, config.up)
        self.down = linear(config.feedforward, config.hidden)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.up(x)
        if not self.gated:
            return self.down(F.gelu(inner))
        gate, up = inner.chunk(2, -1)
        return self.down(F.silu(gate) * up)


class Block(nn.Module):
    """(B, S, H) → (B, S, H): x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: Transformer):
        super().__init__()
        self.config = config
        self.attention_norm, self.attention = norm(config), Attention(config)
        self.mlp_norm, self.mlp = norm(config), Mlp(config)

    def forward(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:
        if rotation is None and self.config.position == "rope":
            rotation = rotation_of(x, self.config.depth)
        x = x + self.attention(self.attention_norm(x), rotation)
        return x + self.mlp(self.mlp_norm(x))


class TransformerModel(nn.Module):
    """Tokens (B, S) int64 → logits (B, S, vocab). `checkpoint`: keep only each block's input, and compute the rest again in backward."""

    def __init__(self, config: Transformer):
        super().__init__()
        self.checkpoint, self.config = False, config
        self.embedding = nn.Embedding(config.vocab, config.hidden)
        self.positions = nn.Embedding(config.context, config.hidden) if config.position == "none" else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = norm(config)
        self.head = linear(config.hidden, config.vocab) if config.head == "untied" else None

    def forward(self, tokens: Tensor) -> Tensor:
        x, rotation = self.embedding(tokens), None
        if self.positions is None:
            rotation = rotation_of(x, self.config.depth)
        else:
            x = x + self.positions.weight.narrow(0, 0, tokens.shape[1])
        for block in self.blocks:
            x = recomputed(block, x, rotation) if self.checkpoint else block(x, rotation)
        x = self.norm(x)
        return F.linear(x, self.embedding.weight) if self.head is None else self.head(x)


def build(config: DeepLinear | Transformer, device: str | torch.device, dtype: torch.dtype, seed: int | None) -> nn.Module:
    """The module with its initial weights, the same in every dtype but for their rounding.

    Matrices: normal of standard deviation 1/√fan-in, truncated at ±3σ. Tables whose rows are picked and not summed: fan-in 1.
    Norms' weights: 1. With seed None (fake tensors have no generator) from the default generator.
    """
    with torch.device("meta"):
        module = DeepLinearModel(config) if isinstance(config, DeepLinear) else TransformerModel(config)
    lookups = () if isinstance(config, DeepLinear) else config.lookups
    generator = None if seed is None else torch.Generator(device).manual_seed(seed)

    def initial(name: str, shape: torch.Size) -> Tensor:
        if len(shape) == 1:
            return torch.ones(shape, dtype=dtype, device=device)
        fan_in = 1 if name in lookups else shape[1]
        return scaled_normal(shape, fan_in, torch.device(device), generator).to(dtype)

    module.load_state_dict({name: initial(name, p.shape) for name, p in module.named_parameters()}, assign=True)
    return module


def functional_deep_linear(config: DeepLinear) -> Callable[..., Tensor]:
    """f(x, *weights) → output, the weights in the order of `parameters()`."""
    with torch.device("meta"):
        return functional(DeepLinearModel(config))


def functional_block(config: Transformer) -> Callable[..., Tensor]:
    """f(x, *weights) → output of one block."""
    with torch.device("meta"):
        return functional(Block(config))


def functional_loss(config: Transformer) -> Callable[..., Tensor]:
    """f(tokens, targets, *weights) → scalar loss."""
    with torch.device("meta"):
        model = functional(TransformerModel(config))
    return lambda tokens, targets, *weights: cross_entropy(model(tokens, *weights), targets)


def functional(module: nn.Module) -> Callable[..., Tensor]:
    """f(x, *weights) → output of `module` with these parameters in place of its own."""
    names = [name for name, _ in module.named_parameters()]

    def function(x: Tensor, *weights: Tensor) -> Tensor:
        return functional_call(module, dict(zip(names, weights, strict=True)), (x,))

    return function


def scaled_normal(shape: torch.Size, fan_in: int, device: torch.device, generator: torch.Generator | None) -> Tensor:
    """A sum of fan-in products with it has the size of one factor: its standard deviation is 1/√fan-in before it is truncated. fp32.

    By the inverse of the normal distribution, so that fake tensors take it too: `trunc_normal_` looks at the values.
    """
    within = math.erf(TRUNCATION / math.sqrt(2))  # the share of a normal that is not cut off
    uniform = torch.rand(shape, device=device, generator=generator).mul_(2).sub_(1)
    return uniform.mul_(within).erfinv_().mul_(math.sqrt(2 / fan_in))


def loss(module: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Scalar loss of (inputs, targets): the mean squared error of (tokens, 1), or the mean cross-entropy, in fp32, of tokens (B, S)."""
    inputs, targets = batch
    output = module(inputs)
    if targets.is_floating_point():
        return F.mse_loss(output, targets)
    return cross_entropy(output, targets)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean over all tokens, in fp32."""
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
