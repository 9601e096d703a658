"""What a pass of a block or model consists of, for the cost model: its products, and the kernels that stream between them.

The kernels are those of eager PyTorch on a GPU: one a norm, one an activation function, one a residual. Streams are given by how many
activations they read and write, and their FLOPs an element by the formulas' operations (kernels/elementwise). A fused attention is two
products that read and write q, k, v and the result only, and skip the half of the scores above the diagonal.
"""

from __future__ import annotations

from kernels.models import activations
from kernels.models.config import Transformer
from kernels.models.streams import between_products, pointwise, tables
from kernels.parts import Contraction, Part, Stream

FP32 = 4  # bytes
NORM_FLOPS = 5  # an element: square, add, scale, weight, and a share of the root
NORM_BACKWARD_FLOPS = 8
SOFTMAX_FLOPS = 5  # maximum, difference, exponential, sum, division
FORWARD, BACKWARD = "forward", "backward"


def product(m: int, n: int, k: int, size: int, times: int, phase: str) -> Contraction:
    """(m, k) · (k, n) with elements of `size` bytes, so many times in a phase."""
    return Contraction(False, 1, m, n, k, size, (m * k + k * n + m * n) * size, times, phase)


def linear(rows: int, inputs: int, outputs: int, size: int, times: int) -> list[Part]:
    """Forward; and in backward the gradients of input and weight."""
    return [
        product(rows, outputs, inputs, size, times, FORWARD),
        product(rows, inputs, outputs, size, times, BACKWARD),
        product(outputs, inputs, rows, size, times, BACKWARD),
    ]


def attention(c: Transformer, batch: int, sequence: int, size: int, times: int) -> list[Part]:
    """Between qkv and out: products of heads, and what plain attention does with scores in memory."""
    tokens, copied = batch * sequence, activations.copied(c, size)
    heads, x, qkv = batch * c.heads, tokens * c.hidden, tokens * c.qkv
    read = x if copied else tokens * c.kv_width  # k or v
    fused = c.attention == "sdpa"
    keys = sequence // 2 + 1 if fused else sequence  # that a row of scores sees, on average, rounded up
    scores = batch * c.heads * sequence * sequence
    moved = (x + read) * size if fused else (x + read + scores) * size
    one = Contraction(True, heads, sequence, keys, c.depth, size, moved, times, FORWARD)
    backward = Contraction(True, heads, sequence, keys, c.depth, size, moved, times * (5 if fused else 4), BACKWARD)
    forward_products: list[Part] = [one, one, *between_products(c, tokens, size, times, FORWARD, BACKWARD)]
    gathered = pointwise(qkv, size, times, BACKWARD, (2, 0), (2, 0))  # q, k and v side by side, and by token
    if fused:
        return [*forward_products, backward, *gathered]
    copies = (2 if copied else 6) if batch > 1 and c.heads > 1 else 0  # q, and k and v where they have not been copied yet
    return [
        *forward_products,
        backward,
        *gathered,
        *pointwise(x, size, times, FORWARD, (2, 1), (copies, 0), (2, 0)),  # q scaled, copies, result by token
        *pointwise(scores, size, times, FORWARD, (2, 1), (2, SOFTMAX_FLOPS)),  # masked, softmax
        *pointwise(x, size, times, BACKWARD, (2, 1), (2, 0)),
        *pointwise(scores, size, times, BACKWARD, (3, 3)),
    ]


def mlp(c: Transformer, tokens: int, size: int, times: int) -> list[Part]:
    """Up, activation function, down."""
    wide = tokens * c.feedforward
    products = [*linear(tokens, c.hidden, c.up, size, times), *linear(tokens, c.feedforward, c.hidden, size, times)]
    if c.activation == "gelu":
        return [*products, *pointwise(wide, size, times, FORWARD, (2, 5)), *pointwise(wide, size, times, BACKWARD, (3, 10))]
    forward = pointwise(wide, size, times, FORWARD, (2, 4), (3, 1))  # silu, product
    return [*products, *forward, *pointwise(wide, size, times, BACKWARD, (3, 1), (3, 1), (3, 8), (4, 0))]  # and gate beside up


def norms(c: Transformer, tokens: int, size: int, times: int) -> list[Part]:
    """Of (tokens, hidden), each pass one kernel."""
    x = tokens * c.hidden
    return [
        *pointwise(x, size, times, FORWARD, (2, NORM_FLOPS)),
        *pointwise(x, size, times, BACKWARD, (3, NORM_BACKWARD_FLOPS)),
    ]


def blocks(c: Transformer, batch: int, sequence: int, size: int, times: int) -> list[Part]:
    """Of so many equal layers, both passes."""
    tokens = batch * sequence
    return [
        *norms(c, tokens, size, 2 * times),
        *linear(tokens, c.hidden, c.qkv, size, times),
        *attention(c, batch, sequence, size, times),
        *linear(tokens, c.hidden, c.hidden, size, times),
        *mlp(c, tokens, size, times),
        *pointwise(tokens * c.hidden, size, 2 * times, FORWARD, (3, 1)),  # residuals
        *pointwise(tokens * c.hidden, size, 2 * times, BACKWARD, (3, 1)),
    ]


def ends(c: Transformer, batch: int, sequence: int, size: int) -> list[Part]:
    """Embedding and positions, last norm, head, loss."""
    tokens = batch * sequence
    x, logits = tokens * c.hidden, tokens * c.vocab
    cast, learned = size < FP32, c.position == "none"
    return [
        *pointwise(x, size, 1, FORWARD, (2, 0), *([(2 + 1 / batch, 1)] if learned else [])),  # rows picked, positions added
        *norms(c, tokens, size, 1),
        *linear(tokens, c.hidden, c.vocab, size, 1),
        *([Stream(logits * (size + FP32), 0, 1, FORWARD)] if cast else []),
        Stream(logits * 2 * FP32, SOFTMAX_FLOPS * logits, 1, FORWARD),
        Stream(logits * FP32, 0, 1, BACKWARD),  # a gradient that is zero but for the targets
        Stream(logits * 3 * FP32, 3 * logits, 1, BACKWARD),
        *([Stream(logits * (size + FP32), 0, 1, BACKWARD)] if cast else []),
        *pointwise(x, size, 1, BACKWARD, *([(1 + 2 / batch, 1)] if learned else []), (2, 1)),  # summed over the batch; added to rows
        Stream(c.vocab * c.hidden * size, 0, 1, BACKWARD),
        *([Stream(3 * c.vocab * c.hidden * size, c.vocab * c.hidden, 1, BACKWARD)] if c.head == "tied" else []),  # added to the head's
    ]


def of_pass(config: Transformer, scope: str, which: str, batch: int, sequence: int, size: int) -> list[Part]:
    """Of a pass: forward, backward or both, each part with its phase."""
    found = [*blocks(config, batch, sequence, size, config.layers), *tables(config, sequence, size, FORWARD)]
    if scope == "model":
        found += ends(config, batch, sequence, size)
    return [part for part in found if which in (part.phase, "both")]
