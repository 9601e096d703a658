"""Bytes that autograd keeps of a forward pass for the backward pass, by formula. No torch here.

Per token of a block, in elements of the model's precision: each norm's input (2·hidden), the inputs of the four products (hidden for
qkv, out and up, feedforward for down), q, k, v (3·hidden), the activation function's inputs and outputs; and of attention the
probabilities, or what a fused kernel keeps instead: its output, which is out's input, and fp32 log-sum-exps.

Korthikanti et al. 2022 (`kernels.napkin.memory`) count the same 16-bit GELU block with feedforward = 4·hidden at 34·hidden + 5·heads·
sequence bytes a token. Plain attention here keeps 32·hidden + 2·heads·sequence beside the norms' statistics: without dropout, theirs
has two masks of hidden bytes less, and of the scores 3·heads·sequence less (a mask, and the dropout's output).
"""

from __future__ import annotations

from kernels.models.config import DeepLinear, Transformer
from kernels.support import DeviceKind

FP32 = 4  # bytes


def deep_linear(config: DeepLinear, tokens: int, size: int) -> int:
    """Outputs of all layers, tokens × width each; x, the first one's input, is the caller's. `size`: bytes of an element."""
    return config.layers * tokens * config.width * size


def norm(config: Transformer, tokens: int, size: int, device: DeviceKind) -> int:
    """Input and statistics. On a CPU LayerNorm's mean and 1/deviation are in the precision, and RMSNorm is several kernels that keep
    the input and the normalised in fp32; on a GPU both are one kernel with fp32 statistics."""
    if config.norm == "layernorm":
        return tokens * (config.hidden * size + 2 * (size if device == "cpu" else FP32))
    kept = 2 * config.hidden * FP32 if device == "cpu" else config.hidden * size
    return tokens * (kept + FP32)


def copied(config: Transformer, size: int) -> bool:
    """Whether k and v are copied for each head of q, as fused kernels need it in fp32 only and plain attention's products always."""
    return config.group > 1 and (config.attention == "plain" or size == FP32)


def heads_held(config: Transformer, copies: bool) -> int:
    """Elements a token that q, k and v hold: as views, all of the product of which they are columns, or of what was rotated of it; and
    `copies` of k and v."""
    turned, product = config.hidden + config.kv_width, config.qkv
    own = 2 * config.hidden if copies else 0
    if config.position == "rope":
        return turned + (own or product)  # v is still the product's
    return product + own  # q is


def attention(config: Transformer, batch: int, sequence: int, size: int, probability: int | None = None) -> int:
    """From qkv's input to out's. `probability`: bytes of one of plain attention's, where they are not of the precision."""
    tokens, x = batch * sequence, batch * sequence * config.hidden * size
    if config.attention == "sdpa":
        held = tokens * heads_held(config, copied(config, size)) * size
        return 2 * x + held + tokens * config.heads * FP32
    kept = 3 * x + tokens * config.heads * sequence * (probability or size)  # qkv's input, scaled q, out's input
    if copied(config, size) or not (batch == 1 or config.heads == 1):
        return kept + 2 * x
    # k and v are columns of larger tensors: where matmul can take them as they lie, all of those are kept.
    return kept + tokens * size * heads_held(config, copies=False)


def attended_again(config: Transformer, batch: int, sequence: int, size: int) -> int:
    """From qkv's input to out's where attention itself keeps nothing but q, k and v: selective recomputation."""
    return batch * sequence * (2 * config.hidden + heads_held(config, copies=False)) * size


def tables(config: Transformer, sequence: int, size: int) -> int:
    """rope's cos and sin, which all blocks share."""
    return 2 * sequence * config.depth * size if config.position == "rope" else 0


def mlp(config: Transformer, tokens: int, size: int) -> int:
    """From up's input to down's: SwiGLU keeps gate, up, silu(gate) and the product, GELU its input and output."""
    wide = 4 if config.activation == "swiglu" else 2
    return tokens * (config.hidden + wide * config.feedforward) * size


def block(config: Transformer, batch: int, sequence: int, size: int, device: DeviceKind) -> int:
    """One block, without rope's tables."""
    tokens = batch * sequence
    return 2 * norm(config, tokens, size, device) + attention(config, batch, sequence, size) + mlp(config, tokens, size)


def model(config: Transformer, batch: int, sequence: int, size: int, device: DeviceKind, checkpoint: bool = False) -> int:
    """Blocks, last norm, head and loss (log-probabilities and the sum of targets' weights, fp32), rope's tables; tokens are the caller's.

    `checkpoint`: of each block its input only.
    """
    tokens = batch * sequence
    a_block = tokens * config.hidden * size if checkpoint else block(config, batch, sequence, size, device)
    head = norm(config, tokens, size, device) + tokens * (config.hidden * size + config.vocab * FP32) + FP32
    return config.layers * a_block + head + tables(config, sequence, size)
