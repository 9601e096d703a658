"""What a training step holds, bytes as formulas of its dims. No torch here.

weights       4 a parameter, always there
optimizer     4 a parameter for each value that it keeps (kernels/parameter_copies.py), always there
batch         inputs and targets; the check keeps the first one beside the loader's
activations   what autograd keeps for backward: kernels/models/activations.py, where under autocast norms and the loss keep fp32,
              products 16 bits or, in fp8, a byte; and the lowered copies of the weights, which live as long. Exact
gradients     4 a parameter; they grow in backward while activations go. Exact
peak          the fullest of four moments, each with the largest temporaries that its kernels have: an estimate, within 15% of what
              tensors hold on a CPU (tests/kernels/training/test_sizes.py), in fp8 20%. Kernels' scratch is not part of it
"""

from __future__ import annotations

from dataclasses import dataclass

from kernels.models import activations
from kernels.models.config import DeepLinear, Transformer
from kernels.op import Point
from kernels.parameter_copies import OPTIMIZER_STATES
from kernels.precisions import PRECISIONS
from kernels.support import DeviceKind
from kernels.training.recipe import AUTOCAST
from kernels.training.sizes import FP32, HALF, batch_bytes, config_of, tokens_of, width


@dataclass(frozen=True)
class Memory:
    """Bytes of a step's parts, and of all that is held at its fullest moment."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    batch: int
    peak: int


@dataclass(frozen=True)
class Kept:
    """Bytes kept for backward: in all, by a block or layer, and by one that will be computed again."""

    total: int
    block: int
    waiting: int
    blocks: int


def memory(point: Point, device: DeviceKind) -> Memory:
    """A CPU keeps more of RMSNorm."""
    config = config_of(point)
    weights = FP32 * config.parameters
    optimizer = weights * OPTIMIZER_STATES[point.options["optimizer"]]
    kept, batch = kept_by(point, device), batch_bytes(point)
    return Memory(weights, weights, optimizer, kept.total, batch, weights + optimizer + 2 * batch + fullest(point, kept, device))


def fullest(point: Point, kept: Kept, device: DeviceKind) -> int:
    """Of activations, gradients and temporaries: when the loss's gradient is there, in the last block's backward, in the first one's, at
    the end."""
    config, tokens, precision = config_of(point), tokens_of(point), point.precision
    if isinstance(config, DeepLinear):
        return fullest_deep_linear(config, tokens, precision, kept)
    head, temporary = config.hidden * config.vocab, temporaries(config, tokens, precision)
    tied = 2 * head if config.head == "tied" else 0  # the lookups' gradient, and its sum with the head's
    return max(
        kept.total + 2 * tokens * config.vocab * FP32,
        (config.layers - 1) * kept.waiting + kept.block + FP32 * head + temporary,
        kept.block + FP32 * (head + (config.layers - 1) * config.block_parameters) + temporary,
        FP32 * (config.parameters + tied + tokens * config.hidden),
        in_attention(point, config, kept, device) if config.attention == "plain" else 0,
    )


def in_attention(point: Point, config: Transformer, kept: Kept, device: DeviceKind) -> int:
    """In backward of the last block's plain attention: its MLP is done, the scores' gradients before and after the softmax are there, and
    what was computed again."""
    batch, sequence, size = point.dims["batch"], point.dims["sequence"], width(point.precision)
    tokens, lowered = batch * sequence, (point.precision in AUTOCAST) * HALF
    matrices = (config.up + config.feedforward) * config.hidden
    done = activations.mlp(config, tokens, size) + lowered * matrices
    again = attention(point, config, device, kept_whole=True) - attention(point, config, device)
    gradients = tokens * config.heads * sequence * 2 * (FP32 if softmax_in_fp32(point.precision, device) else size)
    outside = FP32 * (2 * tokens * config.hidden + config.hidden * config.vocab + matrices)  # of the residual, the head and the MLP
    return (config.layers - 1) * kept.waiting + kept.block - done + again + gradients + outside


def fullest_deep_linear(config: DeepLinear, tokens: int, precision: str, kept: Kept) -> int:
    """In backward of the last layer, of the second, of the first: what is still kept, the gradients so far, and a layer's own, which are
    those of its output, its input and its weight, before and after the cast. fp8 quantises by way of fp32 and copies for the transpose."""
    rows, square, size = tokens * config.width, config.width**2, width(precision)
    weight = square * (FP32 + (precision in AUTOCAST) * HALF)
    own, first = 2 * rows * size + weight, rows * size + weight  # the first one's input is data
    if PRECISIONS[precision].bytes == 1:
        own, first = (2 * rows + max(9 * rows, more * rows + weight) for more in (5, 3))
    return max(
        kept.total - rows * size + (own if config.layers > 1 else first),
        kept.total + rows * size,
        2 * kept.block + own + (config.layers - 2) * square * FP32 if config.layers > 1 else 0,
        (kept.block if precision in AUTOCAST else 0) + first + (config.layers - 1) * square * FP32,
    )


def temporaries(config: Transformer, tokens: int, precision: str) -> int:
    """Of a block's backward at its widest, the MLP's middle: gradients of both halves and of their product, one of which replaces it,
    two residual gradients, a weight's gradient before and after its cast. fp8 is wider where it quantises the halves' gradient, by way
    of fp32."""
    size = width(precision)
    outside = 2 * tokens * config.hidden * FP32
    weight = config.up * config.hidden * (FP32 + (precision in AUTOCAST) * HALF)
    if PRECISIONS[precision].bytes == 1:
        return 15 * tokens * config.feedforward + outside + weight
    return 2 * tokens * config.feedforward * size + outside + weight


def kept_by(point: Point, device: DeviceKind) -> Kept:
    """Exact."""
    config, tokens, precision = config_of(point), tokens_of(point), point.precision
    size = width(precision)
    if isinstance(config, DeepLinear):
        return deep_linear(config, tokens, precision)
    head = activations.norm(config, tokens, FP32, device) + tokens * (config.hidden * size + config.vocab * FP32) + FP32
    head += (precision in AUTOCAST) * HALF * config.hidden * config.vocab
    head += activations.tables(config, point.dims["sequence"], size)
    whole = block(point, config, device)
    waiting = tokens * config.hidden * FP32 if point.options["checkpointing"] == "full" else whole
    return Kept(head + config.layers * waiting, whole, waiting, config.layers)


def softmax_in_fp32(precision: str, device: DeviceKind) -> bool:
    """Whether autocast widens plain attention's softmax: on CUDA, where the probabilities are kept in fp32 and, for the product, in 16
    bits (PyTorch's documentation of torch.amp, "CUDA ops that autocast to float32")."""
    return precision in AUTOCAST and device == "cuda"


def attention(point: Point, config: Transformer, device: DeviceKind, kept_whole: bool = False) -> int:
    """activations.attention of one block. `kept_whole`: also what selective checkpointing computes again."""
    batch, sequence, size = point.dims["batch"], point.dims["sequence"], width(point.precision)
    if point.options["checkpointing"] == "selective" and not kept_whole:
        return activations.attended_again(config, batch, sequence, size)
    return activations.attention(config, batch, sequence, size, size + FP32 if softmax_in_fp32(point.precision, device) else None)


def block(point: Point, config: Transformer, device: DeviceKind) -> int:
    """Of one block: activations.block with fp32 norms, and its weights as the products read them.

    In fp8 each product keeps its own quantised input; that of the second, where attention is fused, and of the fourth are kept by what
    comes before as well.
    """
    precision = point.precision
    tokens, size = tokens_of(point), width(precision)
    norms = 2 * activations.norm(config, tokens, FP32, device)
    if PRECISIONS[precision].bytes == 1:
        inputs = tokens * (3 * config.hidden + config.feedforward) + 8 * FP32  # and the scales
        only_products = 1 if config.attention == "sdpa" else 2  # inputs of the first, and of the second
        between = attention(point, config, device) + tokens * (3 * config.feedforward - only_products * config.hidden) * HALF
        return norms + inputs + between + config.block_matrix_parameters
    products = attention(point, config, device) + activations.mlp(config, tokens, size)
    return norms + products + (precision in AUTOCAST) * HALF * config.block_matrix_parameters


def deep_linear(config: DeepLinear, tokens: int, precision: str) -> Kept:
    """Each product's input as it is multiplied; in fp32 the first one's is the batch. Lowered weights, but in 16 bits not the first
    one's, since no gradient goes past it. The head: its input, its weight, and the prediction in fp32."""
    rows, square, layers = tokens * config.width, config.width**2, config.layers
    if precision not in AUTOCAST:
        return Kept((layers * rows + tokens) * FP32, rows * FP32, rows * FP32, layers)
    head = (rows + config.width) * HALF + tokens * FP32
    if PRECISIONS[precision].bytes == 1:
        each = rows + square + 2 * FP32
        return Kept(layers * each + head, each, each, layers)
    each = (rows + square) * HALF
    return Kept(layers * each - square * HALF + head, each, each, layers)
