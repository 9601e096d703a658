"""transformer: forward pass, backward pass, or both, of a decoder-only block or model (kernels/models/config.py says what it is).

    scope    in                                out               gradients
    block    x (batch, sequence, hidden)       the same shape    of x and of the six weights, for a given one of the output
    model    tokens, targets (batch, sequence) the loss          of every weight; a context of just the sequence

A block of Llama 3 8B: hidden 4096, heads 32, kv_heads 8, feedforward 14336, position rope.

FLOPs are those of the matrix products, as `torch.utils.flop_counter` counts them: whole squares of scores, and in backward the scores
that F.scaled_dot_product_attention computes again. The napkin figure beside is 6 · parameters · tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kernels.differentiable import compiled_unsupported, unsupported
from kernels.models import activations
from kernels.models.config import Transformer, misfits
from kernels.models.options import ATTENTION, HEAD, POSITION, small_attention
from kernels.op import DATA, Cost, Dims, Impl, Op, OpError, Option, Options, Point, order_dims
from kernels.parts import Part, operators_a_part
from kernels.precisions import PRECISIONS
from kernels.support import DeviceKind
from kernels.transformer.memory import peak
from kernels.transformer.parts import of_pass

INDEX = 8  # bytes of a token
LOSS = 4  # bytes

OPTIONS = {
    "scope": Option(
        ("block", "model"), None, "The part to compute: one block, or a whole model of embedding, blocks, head and loss.", leading=True
    ),
    "pass": Option(
        ("forward", "backward", "both"), None, "Which passes are timed. With backward, the forward pass is made beforehand.", leading=True
    ),
    "activation": Option(("swiglu", "gelu"), "swiglu", "The activation function of the MLP."),
    "norm": Option(("rmsnorm", "layernorm"), "rmsnorm", "The normalisation before attention, MLP and head."),
    "attention": ATTENTION,
    "data": DATA,
    "position": POSITION,
    "head": HEAD,
}
BLOCK_DIMS = ("batch", "sequence", "hidden", "heads", "kv_heads", "feedforward")
MODEL_DIMS = (*BLOCK_DIMS, "layers", "vocab")
SMALL = {"batch": 2, "sequence": 19, "heads": 3, "feedforward": 41, "layers": 2, "vocab": 53}
SMALL_HEAD = 7


def dim_order(options: Options, given: Iterable[str]) -> tuple[str, ...]:
    """batch, sequence, hidden, heads, kv_heads if given, feedforward, and of a model layers, vocab. Raises OpError for other names."""
    return order_dims(BLOCK_DIMS if options["scope"] == "block" else MODEL_DIMS, given, optional=("kv_heads",))


def check(point: Point) -> None:
    """Raises OpError where the sizes of attention do not fit, and for a block with a tied head."""
    d = point.dims
    for key, problem in misfits(d["hidden"], d["heads"], d.get("kv_heads"), point.options["position"]):
        raise OpError(problem, key=key)
    if point.options["scope"] == "block" and point.options["head"] == "tied":
        raise OpError("a block has neither embedding nor head: only a model's can be tied", key="head", valid=("untied",))


def config(point: Point) -> Transformer:
    """The model; a block is a model's only one, without vocabulary and context."""
    d = point.dims
    o: Mapping[str, Any] = point.options
    layers, vocab, context = (1, 0, 0) if o["scope"] == "block" else (d["layers"], d["vocab"], d["sequence"])
    sizes = (vocab, layers, d["hidden"], d["heads"], d["feedforward"])
    return Transformer(*sizes, o["activation"], o["norm"], context, o["attention"], d.get("kv_heads"), o["position"], o["head"])


def cost(point: Point, device: DeviceKind = "cuda") -> Cost:
    """FLOPs of the products. Bytes: a pass reads its operands (backward: what the forward pass kept among them) and writes its results.

    Memory is what eager PyTorch's tensors hold at most on the device, to the byte (kernels/transformer/memory.py).
    """
    c, which, size = config(point), point.options["pass"], PRECISIONS[point.precision].bytes
    batch, sequence = point.dims["batch"], point.dims["sequence"]
    tokens = batch * sequence
    if point.options["scope"] == "block":
        weights = c.block_parameters * size
        given, output = tokens * c.hidden * size, tokens * c.hidden * size
        upstream, gradients = output, weights + given
        forward, backward = c.block_forward_flops(batch, sequence), c.block_backward_flops(batch, sequence)
        kept = activations.block(c, batch, sequence, size, device) + activations.tables(c, sequence, size)
    else:
        weights = c.parameters * size
        given, output = 2 * tokens * INDEX, LOSS
        upstream, gradients = 0, weights
        forward, backward = c.forward_flops(batch, sequence), c.backward_flops(batch, sequence)
        kept = activations.model(c, batch, sequence, size, device)
    operands = weights + given + (0 if which == "forward" else upstream)
    flops = {"forward": forward, "backward": backward, "both": forward + backward}[which]
    read = operands + (kept if which == "backward" else 0)
    written = (0 if which == "backward" else output) + (0 if which == "forward" else gradients)
    return Cost(flops, read, written, operands + peak(c, point.options["scope"], which, batch, sequence, size, device))


def parts(point: Point, cost: Cost) -> list[Part]:
    """Products and streams, each with its phase (kernels/transformer/parts.py)."""
    d, size = point.dims, PRECISIONS[point.precision].bytes
    return of_pass(config(point), point.options["scope"], point.options["pass"], d["batch"], d["sequence"], size)


def napkin(point: Point) -> int:
    """2, 4 or 6 · tokens · parameters."""
    c, tokens = config(point), point.dims["batch"] * point.dims["sequence"]
    parameters = c.block_parameters if point.options["scope"] == "block" else c.parameters
    return {"forward": 2, "backward": 4, "both": 6}[point.options["pass"]] * tokens * parameters


def least_flops(point: Point, cost: Cost) -> int:
    """Without the scores above the diagonal, which a causal kernel skips."""
    c, batch, sequence = config(point), point.dims["batch"], point.dims["sequence"]
    if c.attention == "plain":
        return cost.flops
    products = {"forward": 2, "backward": 5, "both": 7}[point.options["pass"]]
    above = sequence * (sequence - 1) // 2
    return cost.flops - c.layers * products * 2 * batch * above * c.hidden


def small(point: Point) -> Dims:
    """At most the sizes of SMALL, heads of at most SMALL_HEAD, an even number of columns where pairs are rotated."""
    return small_attention(config(point), point.dims, SMALL, SMALL_HEAD)


OP = Op.define(
    "kernels.transformer",
    "transformer",
    "Runs the passes of a decoder-only Transformer, of one block or of a whole model.",
    options=OPTIONS,
    dims_doc="A block has batch, sequence, hidden, heads, which divide hidden, and feedforward. A model has layers and vocab besides. "
    "kv_heads, which divide heads, may be given for grouped-query attention: each head of k and v then serves heads / kv_heads heads of q.",
    dims=dim_order,
    check=check,
    cost=cost,
    small=small,
    parts=parts,
    operators=operators_a_part(4),  # as the dispatcher counts them: 2 to 5.3
    on_matrix_units=True,
    least_flops=least_flops,
    many_launches=True,
    trains=True,
    works_beforehand=lambda point: point.options["pass"] == "backward",
    impls=(
        Impl("torch", "torch_impl:eager", unsupported),
        Impl("torch_compile", "torch_impl:compiled", compiled_unsupported, compiled=True),
    ),
)
