"""The models of kernels/models/config.py in plain PyTorch. Shapes: B batch, S sequence, H hidden, A heads, D = H / A, F feedforward."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from kernels.models.config import NORM_EPS, DeepLinear, Transformer

TRUNCATION = 3.0  # standard deviations beyond which no weight is drawn


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


class Attention(nn.Module):
    """Causal self-attention, (B, S, H) → (B, S, H)."""

    def __init__(self, config: Transformer):
        super().__init__()
        self.heads, self.attend = config.heads, attend_fused if config.attention == "sdpa" else attend_plain
        self.qkv = linear(config.hidden, 3 * config.hidden)
        self.out = linear(config.hidden, config.hidden)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).view(*x.shape[:2], 3, self.heads, -1).transpose(1, 3).unbind(2)  # each (B, A, S, D)
        return self.out(self.attend(q, k, v).transpose(1, 2).reshape(x.shape))


def attend_fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q·kᵀ/√D)·v where no position sees a later one, (B, A, S, D)."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def attend_plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same, with scores and probabilities (B, A, S, S) in memory."""
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
        self.attention_norm, self.attention = norm(config), Attention(config)
        self.mlp_norm, self.mlp = norm(config), Mlp(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class TransformerModel(nn.Module):
    """Tokens (B, S) int64 → logits (B, S, vocab). `checkpoint`: keep only each block's input, and compute the rest again in backward."""

    def __init__(self, config: Transformer):
        super().__init__()
        self.checkpoint = False
        self.embedding = nn.Embedding(config.vocab, config.hidden)
        self.positions = nn.Embedding(config.context, config.hidden)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = norm(config)
        self.head = linear(config.hidden, config.vocab)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) + self.positions.weight.narrow(0, 0, tokens.shape[1])
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False) if self.checkpoint else block(x)
        return self.head(self.norm(x))


def build(config: DeepLinear | Transformer, device: str | torch.device, dtype: torch.dtype, seed: int | None) -> nn.Module:
    """The module with its initial weights, the same in every dtype but for their rounding.

    Matrices: normal of standard deviation 1/√fan-in, truncated at ±3σ. Embeddings, whose rows are picked and not summed: fan-in 1.
    Norms' weights: 1. With seed None (fake tensors have no generator) from the default generator.
    """
    with torch.device("meta"):
        module = DeepLinearModel(config) if isinstance(config, DeepLinear) else TransformerModel(config)
    embeddings = {name for name, child in module.named_modules() if isinstance(child, nn.Embedding)}
    generator = None if seed is None else torch.Generator(device).manual_seed(seed)

    def initial(name: str, shape: torch.Size) -> Tensor:
        if len(shape) == 1:
            return torch.ones(shape, dtype=dtype, device=device)
        fan_in = 1 if name.removesuffix(".weight") in embeddings else shape[1]
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
