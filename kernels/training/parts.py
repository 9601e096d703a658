"""A training step as the cost model adds it up: products and streams by phase.

Streams are what eager PyTorch moves, kernel by kernel: a norm in fp32 (read, write), an activation function, a residual sum, softmax and
loss over the logits; under autocast also the casts of activations and weights down and of the weights' gradients up; in fp8 the
quantising of every operand. Attention by a fused kernel is its products alone. Elementwise FLOPs are not counted: they hide behind bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from kernels.models import activations, streams
from kernels.models.config import DeepLinear, Transformer
from kernels.op import Cost, Point
from kernels.parameter_copies import OPTIMIZER_STATES
from kernels.parts import Contraction, Part, Stream
from kernels.precisions import PRECISIONS
from kernels.training.sizes import FP32, batch_bytes, config_of, tokens_of, width

FORWARD, BACKWARD = "forward", "backward"


def parts(point: Point, cost: Cost) -> list[Part]:
    """Of the phases data, forward, backward and optimizer."""
    config, tokens = config_of(point), tokens_of(point)
    found: list[Part] = [Stream(batch_bytes(point), 0, phase="data", over_link=True)]
    if isinstance(config, DeepLinear):
        for phase in (FORWARD, BACKWARD):
            found += linear(point.precision, tokens, config.width, config.width, phase, config.layers - (phase == BACKWARD))
        found += linear(point.precision, tokens, config.width, config.width, BACKWARD, 1, input_gradient=False)
        found += head(point.precision, tokens, config.width, 1)
    else:
        again = point.options["checkpointing"] == "full"
        for phase, passes in ((FORWARD, (FORWARD,)), (BACKWARD, (FORWARD, BACKWARD) if again else (BACKWARD,))):
            for which in passes:
                found += block(point, config, which, phase)
        found += streams.tables(config, point.dims["sequence"], width(point.precision), FORWARD)
        found += head(point.precision, tokens, config.hidden, config.vocab)
        found += embedding(config, tokens)
    each = FP32 * (3 + 2 * OPTIMIZER_STATES[point.options["optimizer"]])  # reads weight, gradient and state, writes weight and state
    found.append(Stream(config.parameters * each, 0, phase="optimizer"))
    return [part for part in found if part.times]


def linear(
    precision: str, tokens: int, inputs: int, outputs: int, phase: str, times: int, input_gradient: bool = True, source: int | None = None
) -> Iterator[Part]:
    """A weight product (tokens, inputs) · (inputs, outputs) and the casts around it; in backward both its gradients.

    `source`: bytes an element in which the input, and in backward its gradient, lies outside the product.
    """
    size, wide = PRECISIONS[precision].bytes, width(precision)
    source = wide if source is None else source
    weights, read, written = inputs * outputs, tokens * inputs, tokens * outputs

    def product(m: int, n: int, k: int) -> Contraction:
        return Contraction(False, 1, m, n, k, size, (m * k + k * n) * size + m * n * wide, times, phase)

    def cast(elements: int, before: int, after: int, reads: int = 1) -> Iterator[Part]:
        if before != after:
            yield Stream(elements * (reads * before + after), 0, times, phase)

    twice = 2 if size == 1 else 1  # fp8 first looks for the largest magnitude
    if phase == FORWARD:
        yield product(tokens, outputs, inputs)
        yield from cast(read, source, size, twice)
        yield from cast(weights, FP32, size, twice)
        return
    yield from cast(written, wide, size, twice)
    if input_gradient:
        yield product(tokens, inputs, outputs)
        yield from cast(read, wide, source)
    yield product(outputs, inputs, tokens)
    yield from cast(weights, wide, FP32)


def block(point: Point, config: Transformer, which: str, phase: str) -> Iterator[Part]:
    """All blocks, forward or backward, in a phase: a checkpointed block goes forward in the backward phase too."""
    batch, sequence = point.dims["batch"], point.dims["sequence"]
    tokens, hidden, layers, wide = batch * sequence, config.hidden, config.layers, width(point.precision)
    forward = which == FORWARD
    for inputs, outputs, source in (
        (hidden, config.qkv, FP32),
        (hidden, hidden, None),
        (hidden, config.up, FP32),
        (config.feedforward, hidden, None),
    ):
        for part in linear(point.precision, tokens, inputs, outputs, which, layers, source=source):
            yield _in(phase, part)
    yield from attention(point, config, which, phase)
    passes = 1 if forward else 2  # backward reads what forward read, and the gradient
    yield Stream(tokens * hidden * FP32 * (passes + 1), 0, 2 * layers, phase)  # norms
    yield Stream(tokens * hidden * (2 * FP32 + wide), 0, 2 * layers, phase)  # residual sums; in backward the sum of two gradients
    yield Stream(tokens * config.feedforward * wide * (passes + 1), 0, layers, phase)  # silu
    yield Stream(tokens * config.feedforward * wide * 3 * passes, 0, layers, phase)  # its product with the other half


def attention(point: Point, config: Transformer, which: str, phase: str) -> Iterator[Part]:
    """Fused: q·kᵀ and p·v; backward: q·kᵀ again, and two gradients of each. Plain: backward has only the gradients, unless scores are
    computed again, and scores pass through memory: masked, softmax, and both in backward."""
    batch, sequence, size = point.dims["batch"], point.dims["sequence"], width(point.precision)
    tokens, heads, forward = batch * sequence, batch * config.heads, which == FORWARD
    fused, scores = config.attention == "sdpa", heads * sequence**2
    read = tokens * (config.hidden if activations.copied(config, size) else config.kv_width)
    moved = (tokens * config.hidden + read + (0 if fused else scores)) * size
    again = point.options["checkpointing"] == "selective" and not forward
    for _ in range(2 if forward else (5 if fused or again else 4)):
        yield Contraction(True, heads, sequence, sequence, config.depth, size, moved, config.layers, phase)
    yield from streams.between_products(config, tokens, size, config.layers, phase if forward else "", "" if forward else phase)
    if not fused:
        for _ in range(2 if forward or again else 0):
            yield Stream(2 * scores * size, 0, config.layers, phase)
        if not forward:
            yield Stream(3 * scores * size, 0, config.layers, phase)


def head(precision: str, tokens: int, inputs: int, outputs: int) -> Iterator[Part]:
    """The last product and the loss; in fp8 that product is bf16."""
    half = "bf16" if PRECISIONS[precision].bytes == 1 else precision
    logits = tokens * outputs
    for phase in (FORWARD, BACKWARD):
        yield from linear(half, tokens, inputs, outputs, phase, 1)
        yield Stream(logits * (width(half) + 3 * FP32), 0, phase=phase)  # widened, then log-softmax; in backward the other way


def embedding(config: Transformer, tokens: int) -> Iterator[Part]:
    """Rows read and positions added; in backward zeros for the whole table, then the rows added to it, and a tied head's gradient."""
    yield Stream(tokens * config.hidden * FP32 * (3 if config.position == "none" else 2), 0, phase=FORWARD)
    yield Stream((config.vocab * 1 + tokens * 3) * config.hidden * FP32, 0, phase=BACKWARD)
    if config.head == "tied":
        yield Stream(3 * config.vocab * config.hidden * FP32, 0, phase=BACKWARD)


def _in(phase: str, part: Part) -> Part:
    return part if part.phase == phase else replace(part, phase=phase)
